/**
 * What the gallery does beside uploading, which is uploader.js: questions in a dialog,
 * copying, and pages that change without a reload, which would cut off uploads. All of it
 * works by links and forms where there is no JavaScript.
 */

const dialog = document.querySelector("dialog");
const cards = document.getElementById("cards");

const NO_ANSWER = `<main class="panel"><h1 id="question">The gallery does not answer</h1>
  <p>Check your connection, then try again.</p><button data-close>Close</button></main>`;
const parse = (html) => new DOMParser().parseFromString(html, "text/html");

/** Another page of the gallery, as a document. */
async function load(url, options) {
  try {
    return parse(await (await fetch(url, options)).text());
  } catch {
    return parse(NO_ANSWER);
  }
}

/** Let parts of this page say what those of another page say. */
function take(page, ...names) {
  for (const name of names) {
    const found = page.querySelector(`[data-part=${name}]`);
    if (found) document.querySelector(`[data-part=${name}]`).replaceChildren(...found.childNodes);
  }
}

/** The card of a file. */
const find = (page, key) => page.querySelector(`.card[data-key="${CSS.escape(key)}"]`);

const refresh = async () => take(await load(location.href), "summary", "empty", "pager");

/** What the browser cannot show leaves the tile below it. */
const leave = ({ target }) => target.matches?.(".shown > :not(p)") && target.remove();
document.addEventListener("error", leave, true);
for (const target of document.querySelectorAll(".shown > :not(p)"))
  if (target.error || (target.complete && !target.naturalWidth)) leave({ target });

// -- questions about one file ---------------------------------------------------

function ask(page) {
  dialog.replaceChildren(page.querySelector("main"));
  for (const button of dialog.querySelectorAll("[data-copy]")) button.hidden = false;
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("button:not([hidden])")?.focus();
}

document.addEventListener("click", async (event) => {
  const target = event.target.closest("a, button");
  if (target?.matches("[data-dialog]")) {
    event.preventDefault();
    ask(await load(target.href));
  } else if (dialog.contains(target) && target.matches("[data-close]")) {
    event.preventDefault();
    dialog.close();
  } else if (target?.matches("[data-copy]")) {
    const input = document.getElementById(target.dataset.copy);
    input.select();
    // Browsers have no clipboard for a page that comes by plain HTTP of another host.
    const copying = navigator.clipboard?.writeText(input.value).then(() => "Copied");
    target.textContent = (await copying?.catch(() => {})) ?? "Selected";
  }
});

dialog.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { action, method, dataset } = event.target;
  const data = new FormData(event.target);
  if (method === "get") return ask(await load(`${action}?${new URLSearchParams(data)}`));
  const page = await load(action, { method, body: data });
  if (page.getElementById("question")) return ask(page); // it says what went wrong
  dialog.close();
  take(page, "messages");
  const card = find(document, dataset.deletes);
  (card?.nextElementSibling ?? card?.previousElementSibling)?.querySelector("h3 a").focus();
  card?.remove();
  await refresh();
});

// -- uploads --------------------------------------------------------------------

/** The card of a file on its way begins as the one that the file will have. */
document.addEventListener("upload-added", ({ detail: { upload } }) => {
  const { file, item } = upload;
  const shown = document.createElement("div");
  shown.className = "shown";
  if (/^image\/(avif|bmp|gif|jpeg|png|webp)$/.test(file.type)) {
    const image = new Image();
    image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
    image.alt = "";
    image.src = URL.createObjectURL(file);
    shown.append(image);
  } else {
    shown.innerHTML = '<p class="tile"><strong></strong></p>';
    shown.querySelector("strong").textContent = file.name.match(/[^.]*$/)[0];
  }
  item.prepend(shown);
});

document.addEventListener("upload-stored", ({ detail: { upload, answer } }) => {
  cards.prepend(parse(answer.html).querySelector(".card"));
  upload.item.remove();
  if (!document.querySelector("#sending > :not([data-state=failed])")) refresh();
});

/** Files that the application has yet to send to the store, until they are there. */
setInterval(async () => {
  const waiting = cards.querySelectorAll(".card:has(.state)");
  if (!waiting.length) return;
  const page = await load(location.href);
  for (const card of waiting) {
    const now = find(page, card.dataset.key);
    if (now) card.replaceWith(now);
  }
}, 2000);
