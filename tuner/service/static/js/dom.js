// What every part of the page is made with: elements, numbers in words, dialogs, announcements.

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} id */
export const $ = (id) => document.getElementById(id);

/**
 * Make an element. Properties that begin with `on` are listeners, `class` and other names are
 * attributes; null, undefined and false are left out, of properties and of children.
 *
 * @param {string} name
 * @param {Record<string, any>} [properties]
 * @param {...any} children
 * @returns {HTMLElement}
 */
export function h(name, properties = {}, ...children) {
  return dressed(document.createElement(name), properties, children);
}

/** Make an element of a picture, as `h` does. */
export function svg(name, properties = {}, ...children) {
  return dressed(document.createElementNS(SVG, name), properties, children);
}

const isThere = (value) => value !== null && value !== undefined && value !== false;

function dressed(made, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (!isThere(value)) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => isThere(child) && child !== ""));
  return made;
}

/** A button that does something else than what its page is for. */
export const plain = (words, onclick, properties = {}) =>
  h("button", { type: "button", class: "plain", onclick, ...properties }, words);

/** A part that is folded until it is asked for. */
export const folded = (words, ...children) => h("details", {}, h("summary", {}, words), ...children);

export const bullets = (texts) => h("ul", {}, texts.map((text) => h("li", {}, text)));

/**
 * A table that scrolls in itself where it is too wide.
 *
 * @param {string} label what it holds, for who cannot see it
 * @param {any[]} heads
 * @param {any[][]} rows the first cell of each names it
 */
export function grid(label, heads, rows) {
  const line = ([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => head === "" ? h("td") : h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map(line))));
}

// Numbers in words

const isMissing = (value) => value === null || value === undefined;

/** @param {number|null|undefined} value */
export const number = (value, digits = 3) =>
  isMissing(value) ? "—" : Number(value.toPrecision(digits)).toString().replace("-", "−");

/** An interval, as `.1 to .4`. */
export const interval = (ends, digits = 3) => isMissing(ends) ? "—" : `${number(ends[0], digits)} to ${number(ends[1], digits)}`;

/** How long that many seconds are, roughly. */
export function duration(seconds) {
  if (isMissing(seconds)) return "—";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${number(seconds / 3600, 2)} h` : `${Math.round(seconds / 86400)} days`;
}

/** A moment, as short as it is clear. */
export function when(text) {
  const moment = new Date(text);
  const isToday = moment.toDateString() === new Date().toDateString();
  const words = isToday ? moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : moment.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  return h("time", { datetime: text, title: moment.toLocaleString() }, words);
}

export const count = (value) => value.toLocaleString("en");

// What is said and asked

/** Say something to who cannot see it change. */
export function announce(words) {
  $("told").textContent = words;
}

/** A button that copies a text. */
export function copying(text, what) {
  const button = plain("Copy", async () => {
    await copied(text());
    button.textContent = "Copied";
    announce(`${what} copied`);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }, { "aria-label": `Copy ${what}` });
  return button;
}

async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { class: "away", value: text }); // the clipboard wants HTTPS
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Lines of code with a button that copies them. */
export const code = (text, what) =>
  h("div", { class: "code" }, h("pre", { tabindex: 0, "aria-label": what }, h("code", {}, text)), copying(() => text, what));

/**
 * Ask in a dialog, which stays open until what was asked for has worked.
 *
 * @param {{title: string, body: any[], action: string, danger?: boolean,
 *   run: (form: HTMLFormElement) => Promise<void>}} what
 */
export function ask({ title, body, action, danger, run }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const go = h("button", { class: danger && "danger" }, action);
  const form = h("form", {}, h("h2", { id: "asked" }, title), body, problem,
    h("p", { class: "row" }, go, plain("Cancel", () => dialog.close())));
  const dialog = h("dialog", { "aria-labelledby": "asked", onclose: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await run(form);
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      go.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** A field of a form: its label, the control, and what it is about. */
export function field(label, control, help) {
  control.id ||= `field-${control.name}`;
  const about = help && h("small", { class: "soft", id: `${control.id}-help` }, help);
  if (about) control.setAttribute("aria-describedby", about.id);
  return h("p", { class: "field" }, h("label", { for: control.id }, label), control, about);
}

export const choice = (name, options, value) => {
  const made = h("select", { name }, options.map(([key, words]) => h("option", { value: key }, words)));
  if (!isMissing(value)) made.value = value;
  return made;
};
