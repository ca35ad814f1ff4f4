/**
 * <store-uploader> sends the files of the form in it to a store of Flask-Store, and goes
 * on after a break or a reload. See "Uploaders" in the documentation.
 */

/** What people read. data-texts replaces some of it. */
const TEXTS = {
  waiting: "Waiting",
  sending: "{sent} of {size}",
  storing: "Finishing",
  stored: "Uploaded",
  broken: "Waiting for the connection",
  odd: "The server does not answer as it should. Check your connection, then try again.",
  large: "The file has {size}, and the limit is {limit}. Choose a smaller file.",
  cancel: "Cancel",
  retry: "Try again",
  status: "{stored} of {all} uploaded",
};
const PREFIX = "store-uploader";
const WEEK = 7 * 24 * 3600e3;
/** Statuses of tus while another request works on the upload. */
const BUSY = [409, 423];
/** S3 takes no part below 5 MiB but the last, and lists 1000. */
const PART = 8 * 2 ** 20;
const PARTS = 1000;
/** How long a connection may send nothing, in milliseconds. */
const STALL = 60e3;

const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
const absolute = (url) => new URL(url, document.baseURI).href;
const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
const make = (parent, tag, properties) =>
  parent.appendChild(Object.assign(document.createElement(tag), properties));

/** A number of bytes in the language of the page. */
function size(bytes) {
  const power = Math.min(3, Math.floor(Math.log10(bytes || 1) / 3));
  return (bytes / 1e3 ** power).toLocaleString(document.documentElement.lang || undefined, {
    style: "unit",
    unit: ["byte", "kilobyte", "megabyte", "gigabyte"][power],
    maximumFractionDigits: 1,
  });
}

/**
 * Why an upload stopped, as the application says it in JSON, S3 in XML, a proxy in HTML.
 * The code is the status, 0 without an answer.
 */
function failure({ responseText, status }, text) {
  try {
    text = JSON.parse(responseText).description ?? text;
  } catch {
    const page = new DOMParser().parseFromString(responseText, "text/html");
    text = page.querySelector("message, p")?.textContent ?? text;
  }
  return Object.assign(new Error(text), { code: status });
}

/** What a reload has to know of each upload, if the browser keeps anything. */
let memory = {};
try {
  memory = localStorage;
  for (const key of Object.keys(memory))
    if (key.startsWith(PREFIX) && JSON.parse(memory[key]).since < Date.now() - WEEK)
      delete memory[key];
} catch {}

// A way has send(upload), which ends when all has arrived, and drop(upload), which leaves
// nothing of it at the server.

const form = {
  send(upload) {
    const { url, method, headers, fields } = upload.progress.token;
    const body = new FormData();
    for (const name in fields) body.append(name, fields[name]);
    body.append("file", upload.file);
    const progress = (sent, all) => upload.at((upload.file.size * sent) / all);
    return upload.insist(() => upload.request(method, url, { headers, body, progress }));
  },
  drop() {},
};

/** tus 1.0. */
const tus = {
  headers: { "Tus-Resumable": "1.0.0" },

  send(upload) {
    return upload.insist(() => this.rest(upload), BUSY);
  },

  async rest(upload) {
    const { file, progress, uploader } = upload;
    const { headers } = this;
    const type = "application/offset+octet-stream";
    const at = (xhr) => upload.reach(+xhr.getResponseHeader("Upload-Offset"));
    let offset = 0;
    if (!progress.location) await this.create(upload);
    else offset = at(await upload.request("HEAD", progress.location, { headers }));
    while (offset < file.size) {
      const body = file.slice(offset, offset + (+uploader.dataset.chunk || file.size));
      const xhr = await upload.request("PATCH", progress.location, {
        headers: { ...headers, "Upload-Offset": offset, "Content-Type": type },
        body,
        progress: (sent) => upload.at(offset + sent),
      });
      offset = at(xhr);
    }
  },

  async create(upload) {
    const { resumable } = upload.progress.token;
    const headers = { ...this.headers, "Upload-Length": upload.file.size };
    const xhr = await upload.request("POST", resumable, { headers, whole: true });
    upload.keep({ location: absolute(xhr.getResponseHeader("Location")) });
  },

  drop(upload) {
    const { location } = upload.progress;
    const remove = () => upload.request("DELETE", location, { headers: this.headers });
    return location && upload.insist(remove, BUSY);
  },
};

/** Straight to S3, in parts. The application signs each request. */
const parts = {
  call(upload, method, options) {
    const { token, uploadId } = upload.progress;
    const wanted = { method, key: token.key, uploadId, partNumber: options?.number };
    return upload.insist(async () => {
      const { url, headers } = await upload.post(token.parts, wanted);
      return upload.request(method, url, { headers, ...options });
    });
  },

  async send(upload) {
    const { file, progress } = upload;
    const step = Math.max(PART, Math.ceil(file.size / PARTS));
    if (!progress.uploadId) {
      const { responseXML } = await this.call(upload, "POST", { whole: true });
      upload.keep({ uploadId: responseXML.querySelector("UploadId").textContent });
    }
    const there = await this.list(upload);
    upload.reach(total(there.map((part) => part.size)));
    const missing = [];
    for (let number = 1; (number - 1) * step < file.size; number++)
      if (!there.some((part) => part.number === number)) missing.push(number);
    const flying = {};
    const some = async () => {
      for (let number; (number = missing.shift()); ) {
        const body = file.slice((number - 1) * step, number * step);
        const progress = (sent) => {
          flying[number] = sent;
          upload.at(upload.safe + total(Object.values(flying)));
        };
        await this.call(upload, "PUT", { number, body, progress });
        delete flying[number];
        upload.reach(upload.safe + body.size);
      }
    };
    await Promise.all([some(), some(), some()]);
    await this.complete(upload);
  },

  async list(upload) {
    const { responseXML } = await this.call(upload, "GET");
    return [...responseXML.querySelectorAll("Part")].map((part) => {
      const text = (name) => part.querySelector(name).textContent;
      return { number: +text("PartNumber"), tag: text("ETag"), size: +text("Size") };
    });
  },

  /** By the listing: a page may not read the ETag of an answer of another origin. */
  async complete(upload) {
    const tags = (await this.list(upload)).map(
      ({ number, tag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${tag}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload>${tags.join("")}</CompleteMultipartUpload>`;
    const xhr = await this.call(upload, "POST", { body });
    // S3 says 200 before it knows.
    if (xhr.responseText.includes("<Error")) throw failure(xhr);
  },

  drop(upload) {
    return upload.progress.uploadId && this.call(upload, "DELETE");
  },
};

/** One file on its way, and its item in the list. */
class Upload {
  /** What a reload has to know: token, location (tus), uploadId (S3), sent. */
  progress = {};
  /** How many bytes the server has, and how often it broke since there were more. */
  safe = 0;
  breaks = 0;

  /** @param {string} path the name of the file, with the folders that were dropped */
  constructor(uploader, file, path) {
    const { dataset, texts } = uploader;
    Object.assign(this, { uploader, file, path, texts });
    this.key = [PREFIX, absolute(dataset.sign), path, file.size, file.lastModified].join(" ");
    this.item = document.createElement("li");
    this.item.className = "store-upload";
    make(this.item, "span", { className: "store-upload-name", textContent: path, title: path });
    this.note = make(this.item, "span", { className: "store-upload-note" });
    this.bar = make(this.item, "progress", { max: file.size || 1, ariaLabel: path });
    this.retryButton = this.button(texts.retry, () => this.wait());
    this.cancelButton = this.button(texts.cancel, () => this.cancel());
    this.show("waiting");
  }

  button(textContent, onclick) {
    const ariaLabel = `${textContent} ${this.path}`;
    return make(this.item, "button", { type: "button", textContent, ariaLabel, onclick });
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
    const { file, texts } = this;
    this.bar.value = sent;
    this.show("sending", fill(texts.sending, { sent: size(sent), size: size(file.size) }));
    this.fire("progress", { loaded: sent, total: file.size });
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
    const detail = { upload: this, ...more };
    const init = { bubbles: true, cancelable: true, detail };
    return this.uploader.dispatchEvent(new CustomEvent(`upload-${type}`, init));
  }

  wait() {
    this.breaks = 0;
    this.show("waiting");
    this.uploader.next();
  }

  /** Send it and let the application confirm it. */
  async run() {
    this.aborter = new AbortController();
    this.broken = false;
    this.progress = JSON.parse(memory[this.key] ?? "{}");
    this.known = this.progress.token;
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
    const { sign, confirm } = this.uploader.dataset;
    const { name, type } = file;
    this.at(0);
    progress.token ??= await this.post(sign, { name, type, size: file.size, path });
    const { token, max_size, resumable, parts: inParts } = progress.token;
    if (file.size > max_size) {
      const sizes = { size: size(file.size), limit: size(max_size) };
      throw Object.assign(new Error(fill(texts.large, sizes)), { code: 413 });
    }
    this.way = inParts && file.size > PART ? parts : resumable ? tus : form;
    try {
      if (!progress.sent) await this.way.send(this);
    } catch (error) {
      // It may have arrived before, and the answer got lost: confirming tells.
      if (error.code !== 403 || !(this.known || this.broken)) throw error;
    }
    this.keep({ sent: true });
    this.show("storing");
    return this.post(confirm, { token });
  }

  fail(error) {
    const refused = error.code >= 400 && error.code < 500;
    if (refused) this.forget();
    // The token of an earlier try may have expired: begin anew.
    if (refused && this.known) return this.show("waiting");
    this.show("failed", error.message);
    this.uploader.tell(`${this.path}: ${error.message}`);
    this.fire("failed", { error });
  }

  /** Stop, and leave nothing of it in the page, the browser and the server. */
  async cancel() {
    const { item, uploader } = this;
    this.state = "cancelled";
    this.aborter?.abort();
    uploader.leave(this);
    this.fire("cancelled");
    await this.ended;
    this.aborter = new AbortController();
    try {
      await this.way?.drop(this);
    } catch {}
    this.forget();
  }

  /** One request, by XMLHttpRequest: fetch() does not tell how much has been sent. */
  request(method, url, { headers, body, progress, whole } = {}) {
    return new Promise((resolve, reject) => {
      const { signal } = this.aborter;
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
          if (loaded < total) stall = setTimeout(abort, STALL);
          progress(loaded, total);
        };
      xhr.onloadend = () => {
        clearTimeout(stall);
        if (xhr.status && xhr.status < 300) resolve(xhr);
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
    const body = JSON.stringify(data);
    const xhr = await this.insist(() => this.request("POST", url, { headers, body }));
    try {
      return JSON.parse(xhr.responseText);
    } catch {
      throw failure(xhr, this.texts.odd);
    }
  }

  /**
   * Try until it succeeds, with pauses that become longer.
   *
   * @param {number[]} busy further statuses after which it may succeed
   */
  async insist(work, busy = []) {
    for (;;) {
      this.aborter.signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        const { code } = error;
        // A full disk (507) stays full.
        const passes = [0, 429, ...busy].includes(code) || (code > 499 && code !== 507);
        const often = this.breaks >= (this.uploader.dataset.retries ?? 8);
        if (!passes || (often && navigator.onLine)) throw error;
        await this.pause();
      }
    }
  }

  /** Wait for some seconds, or for the network. */
  pause() {
    const { signal } = this.aborter;
    const seconds = Math.min(30, 2 ** this.breaks) * (0.5 + Math.random() / 2);
    this.broken = true;
    this.show(this.state, this.texts.broken);
    return new Promise((resolve) => {
      if (navigator.onLine) setTimeout(resolve, 1e3 * seconds, this.breaks++);
      addEventListener("online", resolve, { signal });
      signal.addEventListener("abort", resolve);
    });
  }
}

/** All files of a file or a folder that was dropped, with their paths. */
async function* walk(entry) {
  const ask = (from, verb) => new Promise((...ends) => from[verb](...ends));
  if (entry.isFile) yield [await ask(entry, "file"), entry.fullPath.slice(1)];
  else {
    const reader = entry.createReader();
    for (let some; (some = await ask(reader, "readEntries")).length; )
      for (const inner of some) yield* walk(inner);
  }
}

export class StoreUploader extends HTMLElement {
  /** @type {Upload[]} */
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
    const { files, items } = event.dataTransfer;
    this.removeAttribute("dragging");
    if (!files.length) return;
    event.preventDefault();
    // The items are gone after the first await.
    const entries = Array.from(items, (item) => item.webkitGetAsEntry());
    for (const entry of entries)
      for await (const [file, path] of walk(entry)) this.take(file, path);
  }

  paste(event) {
    const { clipboardData, target } = event;
    const writing = target.closest("input:not([type=file]), textarea, [contenteditable]");
    if (!clipboardData.files.length || writing || event.defaultPrevented) return;
    event.preventDefault();
    this.add(clipboardData.files);
  }

  /** @param {Iterable<File>} files to upload */
  add(files) {
    for (const file of [...files]) this.take(file, file.webkitRelativePath || file.name);
  }

  take(file, path) {
    const upload = new Upload(this, file, path);
    const same = this.uploads.find((other) => other.key === upload.key);
    if ((same && same.state !== "stored") || !upload.fire("added")) return;
    this.uploads.push(upload);
    this.list.append(upload.item);
    this.next();
    this.tell();
  }

  leave(upload) {
    this.uploads = this.uploads.filter((other) => other !== upload);
    this.keepFocus(upload.item, true);
    upload.item.remove();
    this.tell();
  }

  count(...states) {
    return this.uploads.filter((upload) => states.includes(upload.state)).length;
  }

  /** Begin what waits, as far as there is room. */
  next() {
    for (const upload of this.uploads) {
      const busy = this.count("sending", "storing");
      if (upload.state === "waiting" && busy < (this.dataset.parallel ?? 3))
        upload.ended = upload.run();
    }
    if (this.count("stored") === this.uploads.length) this.tell();
  }

  tell(more = "") {
    const counts = { stored: this.count("stored"), all: this.uploads.length };
    this.status.textContent = `${fill(this.texts.status, counts)} ${more}`;
  }

  /** Let a keyboard go on near a button that goes. */
  keepFocus(item, gone) {
    const { activeElement } = document;
    if (!item.contains(activeElement) || !(gone || activeElement.hidden)) return;
    const near = gone ? item.nextElementSibling ?? item.previousElementSibling : item;
    (near?.querySelector("button:not([hidden])") ?? this.input).focus();
  }

  /** The header that Flask-WTF asks for. */
  get csrf() {
    const found = document.querySelector("meta[name=csrf-token], [name=csrf_token]");
    return ["X-CSRFToken", this.dataset.csrf ?? found?.content ?? found?.value ?? ""];
  }
}

customElements.define("store-uploader", StoreUploader);
