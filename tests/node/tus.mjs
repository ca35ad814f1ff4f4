// Uploads a file with tus-js-client: node tus.mjs MODULE ENDPOINT FILE CHUNK
import {createReadStream, statSync} from "node:fs";
import {createRequire} from "node:module";

const [module, endpoint, file, chunk] = process.argv.slice(2);
const tus = createRequire(import.meta.url)(module);
const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  uploadSize: statSync(file).size,
  chunkSize: Number(chunk) || Infinity,
  retryDelays: Array(200).fill(20),
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => process.exit(0),
});
upload.start();
