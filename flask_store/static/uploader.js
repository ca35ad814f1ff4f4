/** A form whose files go to a store, and go on after a break or a reload. */

/** What people read. data-texts replaces some of it. */
const TEXTS = {
  waiting: "Waiting",
  storing: "Finishing",
  stored: "Uploaded",
  broken: "Waiting for the connection",
  odd: "The server does not answer. Check your connection, then try again.",
  large: "The file is too large. Choose a smaller one. The limit:",
  cancel: "Cancel",
  retry: "Try again",
};
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];
const NAME = "store-uploader";
const WEEK = 604800e3;
const TUS = { "Tus-Resumable": "1.0.0" };
/** Another request of tus is at work. */
const BUSY = [409, 423];
/** S3 takes no part below 5 MiB but the last, and lists 1000. */
const PART = 8 * 2 ** 20;
const MINUTE = 60e3;

const absolute = (url) => new URL(url, document.baseURI).href;
const make = (parent, tag, properties) =>
  Object.assign(parent.appendChild(document.createElement(tag)), properties);

/** A number of bytes in the language of the page. */
function size(bytes, power = 0) {
  if (bytes >= 1000 && UNITS[power + 1]) return size(bytes / 1000, power + 1);
  const style = { style: "unit", unit: UNITS[power], maximumFractionDigits: 1 };
  return bytes.toLocaleString(document.documentElement.lang || [], style);
}

/** The application says why in JSON, S3 in XML, a proxy in HTML. */
function failure({ responseText, status }, text) {
  try {
    text = JSON.parse(responseText).description ?? text;
  } catch {
    const page = new DOMParser().parseFromString(responseText, "text/html");
    text = page.querySelector("message, p")?.textContent ?? text;
  }
  return Object.assign(new Error(text), { code: status });
}

/** What a reload has to know, if the browser keeps anything. */
let memory = {};
try {
  memory = localStorage;
  for (const key of Object.keys(memory))
    if (key.startsWith(NAME) && JSON.parse(memory[key]).since < Date.now() - WEEK)
      delete memory[key];
} catch {}

// Each way of sending ends send() when all has arrived. drop() leaves nothing of it.

const form = {
  send(upload) {
    const { file } = upload;
    const { url, method, headers, fields } = upload.progress.token;
    const body = new FormData();
    for (const name in fields) body.append(name, fields[name]);
    body.append("file", file);
    const progress = (sent) => upload.at(Math.min(sent, file.size));
    return upload.insist(() => upload.request(method, url, { headers, body, progress }));
  },
};

const tus = {
  send(upload) {
    return upload.insist(() => this.rest(upload), BUSY);
  },

  async rest(upload) {
    const { dataset, file, progress } = upload;
    const at = (xhr) => upload.reach(+xhr.getResponseHeader("Upload-Offset"));
    let offset = 0;
    if (progress.location)
      offset = at(await upload.request("HEAD", progress.location, { headers: TUS }));
    else {
      const headers = { ...TUS, "Upload-Length": file.size };
      const options = { headers, whole: true };
      const xhr = await upload.request("POST", progress.token.resumable, options);
      upload.keep({ location: absolute(xhr.getResponseHeader("Location")) });
    }
    while (offset < file.size) {
      const xhr = await upload.request("PATCH", progress.location, {
        headers: {
          ...TUS,
          "Content-Type": "application/offset+octet-stream",
          "Upload-Offset": offset,
        },
        body: file.slice(offset, offset + (+dataset.chunk || file.size)),
        progress: (sent) => upload.at(offset + sent),
      });
      offset = at(xhr);
    }
  },

  drop(upload) {
    const { location } = upload.progress;
    const remove = () => upload.request("DELETE", location, { headers: TUS });
    return location && upload.insist(remove, BUSY);
  },
};

/** Straight to S3, in parts. The application signs each request. */
const parts = {
  call(upload, method, options) {
    const { token, uploadId } = upload.progress;
    const wanted = { method, uploadId, partNumber: options?.number };
    return upload.insist(async () => {
      const { url, headers } = await upload.post(token.parts, wanted);
      return upload.request(method, url, { headers, ...options });
    });
  },

  async send(upload) {
    const { file, progress } = upload;
    const step = Math.max(PART, Math.ceil(file.size / 1000));
    if (!progress.uploadId) {
      const { responseXML } = await this.call(upload, "POST", { whole: true });
      upload.keep({ uploadId: responseXML.querySelector("UploadId").textContent });
    }
    const there = await this.list(upload);
    upload.at(there.reduce((sum, part) => sum + part.size, 0));
    const missing = [];
    for (let number = 1; (number - 1) * step < file.size; number++)
      if (!there.some((part) => part.number === number)) missing.push(number);
    const some = async () => {
      for (let number; (number = missing.shift()); ) {
        const body = file.slice((number - 1) * step, number * step);
        let before = 0;
        const progress = (sent) => {
          upload.at(upload.bar.value + sent - before);
          before = sent;
        };
        await this.call(upload, "PUT", { number, body, progress });
        upload.breaks = 0;
      }
    };
    await Promise.all([some(), some(), some()]);
    // Elsewhere, a page may not read ETags of another origin.
    const tags = (await this.list(upload)).map(
      ({ number, tag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${tag}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload>${tags.join("")}</CompleteMultipartUpload>`;
    const xhr = await this.call(upload, "POST", { body });
    // S3 says 200 before it knows.
    if (xhr.responseText.includes("<Error")) throw failure(xhr);
  },

  async list(upload) {
    const { responseXML } = await this.call(upload, "GET");
    return [...responseXML.querySelectorAll("Part")].map((part) => {
      const text = (name) => part.querySelector(name).textContent;
      return { number: +text("PartNumber"), tag: text("ETag"), size: +text("Size") };
    });
  },

  drop(upload) {
    return upload.progress.uploadId && this.call(upload, "DELETE");
  },
};

/** One file on its way, and its item in the list. */
class Upload {
  /** token, location (tus), uploadId (S3), sent: whether all has arrived */
  progress = {};
  /** How many bytes the server has, and how often it broke since then. */
  safe = 0;
  breaks = 0;

  /** @param {string} path the name, with its folders */
  constructor(uploader, file, path) {
    const { dataset, texts } = uploader;
    const item = document.createElement("li");
    make(item, "span", { textContent: path, title: path });
    const note = make(item, "span");
    const bar = make(item, "progress", { max: file.size || 1, ariaLabel: path });
    const button = (textContent, onclick) => {
      const ariaLabel = `${textContent} ${path}`;
      return make(item, "button", { type: "button", textContent, ariaLabel, onclick });
    };
    this.retryButton = button(texts.retry, () => this.retry());
    this.cancelButton = button(texts.cancel, () => this.cancel());
    this.key = [NAME, absolute(dataset.sign), path, file.size, file.lastModified].join(" ");
    Object.assign(this, { uploader, dataset, texts, file, path, item, note, bar });
    this.show("waiting");
  }

  show(state, note = this.texts[state]) {
    const stored = state === "stored";
    const failed = state === "failed";
    this.state = this.item.dataset.state = state;
    this.note.textContent = note;
    this.bar.hidden = stored || failed;
    this.retryButton.hidden = !failed;
    this.cancelButton.hidden = stored || state === "storing";
    this.uploader.keepFocus(this.item);
  }

  /** Show how many bytes have been sent. */
  at(sent) {
    this.bar.value = sent;
    this.show("sending", `${size(sent)} / ${size(this.file.size)}`);
    this.fire("progress", { loaded: sent });
  }

  /** The server has so many bytes. */
  reach(bytes) {
    if (bytes > this.safe) this.breaks = 0;
    this.at((this.safe = bytes));
    return bytes;
  }

  keep(more) {
    Object.assign(this.progress, more);
    try {
      memory[this.key] = JSON.stringify({ ...this.progress, since: Date.now() });
    } catch {}
  }

  forget() {
    this.progress = {};
    delete memory[this.key];
  }

  fire(type, more) {
    const init = { bubbles: true, cancelable: true, detail: { upload: this, ...more } };
    return this.uploader.dispatchEvent(new CustomEvent(`upload-${type}`, init));
  }

  retry() {
    this.show("waiting");
    this.uploader.next();
  }

  /** Send it and let the application confirm it. */
  async run() {
    this.aborter = new AbortController();
    this.breaks = 0;
    this.progress = JSON.parse(memory[this.key] ?? "{}");
    this.doubtful = this.progress.token;
    try {
      const answer = await this.send();
      this.forget();
      this.show("stored");
      this.fire("stored", { answer });
    } catch (error) {
      if (this.state !== "cancelled") this.fail(error);
    }
    this.aborter.abort();
    this.uploader.next();
  }

  async send() {
    const { file, path, progress, texts } = this;
    const { sign, confirm } = this.dataset;
    const { name, type } = file;
    this.reach(0);
    progress.token ??= await this.post(sign, { name, type, size: file.size, path });
    const { token, max_size, resumable, parts: signed } = progress.token;
    if (file.size > max_size)
      throw failure({ status: 413 }, `${texts.large} ${size(max_size)}`);
    this.way = signed && file.size > PART ? parts : resumable ? tus : form;
    try {
      if (!progress.sent) await this.way.send(this);
      this.keep({ sent: true });
    } catch (error) {
      // It may have arrived: confirming tells.
      if (error.code !== 403 || !this.doubtful) throw error;
    }
    this.show("storing");
    return this.post(confirm, { token });
  }

  fail(error) {
    // 400 and 401 are about whoever asks.
    const refused = error.code > 401 && error.code < 500;
    const { sent } = this.progress;
    if (refused) this.forget();
    // It may have expired: begin anew.
    if (refused && this.doubtful && !sent) return this.show("waiting");
    this.show("failed", error.message);
    this.uploader.tell();
    this.fire("failed", { error });
  }

  /** Stop, and leave nothing of it anywhere. */
  async cancel() {
    const { item, uploader } = this;
    this.state = "cancelled";
    this.aborter?.abort();
    uploader.keepFocus(item, true);
    item.remove();
    uploader.uploads = uploader.uploads.filter((other) => other !== this);
    uploader.tell();
    this.fire("cancelled");
    await this.ended;
    this.aborter = new AbortController();
    try {
      await this.way?.drop?.(this);
    } catch {}
    this.forget();
  }

  /** One request. fetch() does not tell how much is sent. */
  request(method, url, { headers, body, progress, whole }) {
    return new Promise((resolve, reject) => {
      const { signal } = this.aborter;
      signal.throwIfAborted();
      const xhr = new XMLHttpRequest();
      const abort = () => xhr.abort();
      let stall;
      xhr.open(method, url);
      xhr.setRequestHeader("Accept", "application/json");
      for (const name in headers) xhr.setRequestHeader(name, headers[name]);
      if (absolute(url).startsWith(`${origin}/`)) xhr.setRequestHeader(...this.uploader.csrf);
      if (progress)
        xhr.upload.onprogress = ({ loaded, total }) => {
          clearTimeout(stall);
          // A connection may break and say nothing.
          if (loaded < total) stall = setTimeout(abort, MINUTE);
          progress(loaded);
        };
      xhr.onloadend = () => {
        if (xhr.status > 199 && xhr.status < 300) resolve(xhr);
        else reject(failure(xhr, this.texts.odd));
      };
      addEventListener("offline", abort, { signal });
      if (!whole) signal.addEventListener("abort", abort);
      xhr.send(body);
    });
  }

  /** Send JSON to a view of the application, and get its JSON. */
  async post(url, data) {
    const headers = { "Content-Type": "application/json" };
    const options = { headers, body: JSON.stringify(data) };
    const xhr = await this.insist(() => this.request("POST", url, options));
    try {
      return JSON.parse(xhr.responseText);
    } catch {
      throw failure(xhr, this.texts.odd);
    }
  }

  /** Try until it succeeds or fails for good. */
  async insist(work, busy = []) {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const { code } = error;
        // A full disk (507) stays full.
        const passes = [0, 429, ...busy].includes(code) || (code > 499 && code !== 507);
        const { retries = 8 } = this.dataset;
        if (!passes || (navigator.onLine && this.breaks >= retries)) throw error;
      }
      const { signal } = this.aborter;
      const seconds = Math.min(30, 2 ** this.breaks) * (0.5 + Math.random() / 2);
      this.doubtful = true;
      this.show(this.state, this.texts.broken);
      if (navigator.onLine) this.breaks++;
      await new Promise((resolve) => {
        setTimeout(resolve, navigator.onLine ? 1000 * seconds : MINUTE);
        addEventListener("online", resolve, { signal });
        signal.addEventListener("abort", resolve);
      });
    }
  }
}

/** The files in what was dropped, and their paths. */
async function* walk(entry) {
  const ask = (from, verb) => new Promise((...ends) => from[verb](...ends));
  if (entry.isFile) yield [await ask(entry, "file"), entry.fullPath.slice(1)];
  else {
    const reader = entry.createReader();
    for (let some; (some = await ask(reader, "readEntries")).length; )
      for (const inner of some) yield* walk(inner);
  }
}

class StoreUploader extends HTMLElement {
  uploads = [];

  connectedCallback() {
    const { drop, list, texts } = this.dataset;
    this.texts = { ...TEXTS, ...JSON.parse(texts ?? "{}") };
    this.input = this.querySelector("input[type=file]");
    this.status ??= make(this, "p", { role: "status" });
    this.list ??= document.getElementById(list) ?? make(this, "ul");
    this.list.classList.add("store-uploads");
    this.area = drop === "page" ? document : this;
    this.listeners = new AbortController();
    this.listen(this, "change");
    this.listen(this.area, "dragover", "dragleave", "drop");
    this.listen(document, "paste");
  }

  disconnectedCallback() {
    this.listeners.abort();
  }

  listen(target, ...types) {
    for (const type of types) target.addEventListener(type, this, this.listeners);
  }

  handleEvent(event) {
    this[event.type](event);
  }

  change({ target }) {
    if (!target.files) return;
    this.add(target.files);
    target.value = "";
  }

  dragover(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    this.setAttribute("dragging", "");
  }

  dragleave({ relatedTarget }) {
    if (!this.area.contains(relatedTarget)) this.removeAttribute("dragging");
  }

  async drop(event) {
    if (!this.hasAttribute("dragging")) return;
    this.removeAttribute("dragging");
    event.preventDefault();
    // The items are gone after the first await.
    const entries = Array.from(event.dataTransfer.items, (item) => item.webkitGetAsEntry());
    for (const entry of entries.filter(Boolean))
      for await (const [file, path] of walk(entry)) this.take(file, path);
  }

  paste({ clipboardData, target }) {
    if (!target.closest("input:not([type=file]), textarea, [contenteditable]"))
      this.add(clipboardData.files);
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of [...files]) this.take(file, file.webkitRelativePath || file.name);
  }

  take(file, path) {
    const upload = new Upload(this, file, path);
    const begun = ({ key, state }) => key === upload.key && state !== "stored";
    if (this.uploads.some(begun) || !upload.fire("added")) return;
    this.uploads.push(upload);
    this.list.append(upload.item);
    this.next();
    this.tell();
  }

  count(...states) {
    return this.uploads.filter(({ state }) => states.includes(state)).length;
  }

  next() {
    const busy = () => this.count("sending", "storing");
    const { parallel = 3 } = this.dataset;
    for (const upload of this.uploads)
      if (upload.state === "waiting" && busy() < parallel) upload.ended = upload.run();
    if (!busy()) this.tell();
  }

  tell() {
    const { status, texts, uploads } = this;
    const failed = uploads.findLast(({ state }) => state === "failed");
    status.textContent = `${texts.stored}: ${this.count("stored")} / ${uploads.length}`;
    if (failed) status.textContent += `. ${failed.path}: ${failed.note.textContent}`;
  }

  /** Let a keyboard go on near a button that goes. */
  keepFocus(item, gone) {
    const { activeElement } = document;
    if (!item.contains(activeElement) || !(gone || activeElement.hidden)) return;
    const near = gone ? item.nextElementSibling ?? item.previousElementSibling : item;
    (near?.querySelector("button:not([hidden])") ?? this.input)?.focus();
  }

  /** The header that Flask-WTF asks for. */
  get csrf() {
    const found = document.querySelector("[name=csrf-token], [name=csrf_token]");
    return ["X-CSRFToken", this.dataset.csrf ?? found?.content ?? found?.value ?? ""];
  }
}

customElements.define(NAME, StoreUploader);
