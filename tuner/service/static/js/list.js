// The studies: searched, sorted, filtered, and chosen to be compared.

import { call, chosen, options, session } from "./api.js";
import { announce, choice, duration, h, interval, number, plain, when } from "./dom.js";
import { badge, ENDED, glossary, STATES, term, VERDICTS } from "./words.js";

const PAGE = 50;
const MOST = 200; // studies that one answer holds
const EVERY = 5000; // milliseconds between looks
const SORTS = [["-created", "newest first"], ["created", "oldest first"], ["name", "name"],
  ["-ended", "last to end first"], ["-lambda", "largest λ* first"], ["lambda", "smallest λ* first"]];
const TOLD = ["trials", "replicates", "confirm_replicates", "looks", "name", "a", "b", "y", "warm_start", "prior"]; // elsewhere in the row
const marked = new Set(); // to compare, wherever one goes meanwhile

/** Show the studies that the address asks for; returns what ends it. */
export async function showList(page, query) {
  const schema = await options();
  const view = { query, rows: new Map(), schema, facets: { tags: new Set(session.tags), data: new Map() } };
  Object.assign(view, parts(view));
  page.replaceChildren(h("div", { class: "heading" }, h("h2", {}, "Studies"), h("a", { href: "#/new", class: "button" }, "New study")),
    view.filters, view.compare, view.problem, view.table, view.none, view.more,
    glossary("λ", "λ*", "gain", "seed", "confirming seeds", "undecided", "95 % interval", "fingerprint"));
  await look(view);
  const timer = setInterval(() => document.hidden || look(view).catch((error) => said(view, error)), EVERY);
  return () => clearInterval(timer);
}

function parts(view) {
  const heads = ["compare", "name", "state", "answer", "λs × seeds", "data", "submitted"];
  const body = h("tbody", { role: "rowgroup" });
  const table = h("table", { class: "studies", role: "table", "aria-label": "Studies" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((head) =>
      h("th", { scope: "col", role: "columnheader" }, head === "compare" ? h("span", { class: "away" }, head) : head)))), body);
  return {
    body, table,
    filters: filters(view),
    compare: h("p", { class: "compare row", hidden: true }),
    problem: h("p", { class: "problem", role: "alert" }),
    none: h("div", { class: "empty", hidden: true }),
    more: plain("Show more", () => { view.query.set("n", shown(view) + PAGE); renewed(view); }, { hidden: true }),
  };
}

const shown = (view) => Number(view.query.get("n")) || PAGE;

// The address holds what is asked for, so that it stays on reloading and can be kept.
function renewed(view) {
  history.replaceState(null, "", `#/${view.query.size ? `?${view.query}` : ""}`);
  return look(view).then(() => announce(`${view.rows.size} studies are shown`), (error) => said(view, error));
}

function filters(view) {
  const set = (name) => (event) => {
    const value = event.target.type === "checkbox" ? event.target.checked && "true" : event.target.value;
    if (value) view.query.set(name, value);
    else view.query.delete(name);
    view.query.delete("n");
    renewed(view);
  };
  const one = (label, control) => h("label", {}, label, control);
  const select = (name, values, all = "all") => {
    const made = choice(name, [["", all], ...values], view.query.get(name) || "");
    made.addEventListener("change", set(name));
    return made;
  };
  let pause;
  const search = h("input", { type: "search", name: "q", value: view.query.get("q") || "", placeholder: "name, note, tag", maxlength: 64,
    oninput: (event) => { clearTimeout(pause); pause = setTimeout(() => set("q")(event), 300); } });
  const sort = choice("sort", SORTS, view.query.get("sort") || "-created");
  sort.addEventListener("change", set("sort"));
  const archived = h("input", { type: "checkbox", name: "archived", onchange: set("archived") });
  archived.checked = view.query.has("archived");
  view.tag = select("tag", []);
  view.data = select("fingerprint", []);
  return h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    one("Search", search), one("State", select("status", STATES.map((each) => [each, each]))),
    one("Verdict", select("verdict", VERDICTS.map((each) => [each, each]))),
    one("Data", view.data), one("Tag", view.tag), one("Sort", sort),
    h("label", { class: "check" }, archived, "archived ones"));
}

async function look(view) {
  const found = [];
  let cursor = null;
  do {
    const query = new URLSearchParams(view.query);
    query.delete("n");
    query.set("limit", Math.min(MOST, shown(view) - found.length));
    if (cursor) query.set("cursor", cursor);
    const page = await call("GET", `/studies?${query}`);
    found.push(...page.studies);
    cursor = page.next;
  } while (cursor && found.length < shown(view));
  view.problem.textContent = "";
  view.more.hidden = !cursor;
  view.table.hidden = !found.length;
  nothing(view, found);
  facets(view, found);
  fill(view, found);
  compareBar(view);
}

function said(view, error) {
  view.problem.textContent = `${error.message} What you see may be old.`;
}

function nothing(view, found) {
  const isFiltered = ["q", "status", "verdict", "fingerprint", "tag", "archived"].some((name) => view.query.has(name));
  const before = view.none.hidden ? "" : view.none.textContent;
  view.none.hidden = found.length > 0;
  if (found.length) return;
  const words = isFiltered ? "No study is like that." : "None yet.";
  if (before.startsWith(words)) return;
  view.none.replaceChildren(h("p", {}, words), isFiltered
    ? h("p", {}, h("a", { href: "#/" }, "Show all"))
    : h("p", {}, h("a", { href: "#/new" }, "Submit a data set"), " of pairs, and see whether aligning the two encoders pays."));
}

// What can be chosen in the filters: what was seen so far.
function facets(view, found) {
  for (const study of found) {
    for (const tag of study.tags) view.facets.tags.add(tag);
    view.facets.data.set(study.fingerprint, `${study.source || study.name} (${study.fingerprint.slice(0, 6)})`);
  }
  const grown = (select, entries, name) => {
    const wanted = view.query.get(name);
    if (wanted && !entries.some(([key]) => key === wanted)) entries.push([wanted, wanted.slice(0, 12)]);
    const known = new Set([...select.options].map((option) => option.value));
    for (const [key, words] of entries) if (!known.has(key)) select.append(h("option", { value: key }, words));
    if (wanted) select.value = wanted;
  };
  grown(view.tag, [...view.facets.tags].map((tag) => [tag, tag]), "tag");
  grown(view.data, [...view.facets.data], "fingerprint");
}

// A row is made anew only if its study has changed, and the focus stays where it was.
function fill(view, found) {
  const kept = new Map();
  for (const study of found) {
    const text = JSON.stringify(study);
    const old = view.rows.get(study.id);
    kept.set(study.id, old?.text === text ? old : { text, row: row(view, study) });
  }
  const rows = [...kept.values()].map((each) => each.row);
  const isSame = rows.length === view.body.children.length && rows.every((each, n) => each === view.body.children[n]);
  view.rows = kept;
  if (isSame) return;
  const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
  view.body.replaceChildren(...rows);
  if (focused) view.body.querySelector(`[data-key="${focused}"]`)?.focus();
}

function row(view, study) {
  const cell = (label, ...inside) => h("td", { role: "cell", "data-label": label }, ...inside);
  const box = h("input", { type: "checkbox", "aria-label": `Compare ${study.name} of ${study.created}`, "data-key": `c-${study.id}`,
    onchange: ({ target }) => { target.checked ? marked.add(study.id) : marked.delete(study.id); compareBar(view); } });
  box.checked = marked.has(study.id);
  return h("tr", { role: "row" },
    cell("", box),
    cell("name", h("a", { href: `#/studies/${study.id}`, "data-key": `n-${study.id}` }, study.name),
      study.owner !== session.user && h("span", { class: "soft" }, ` of ${study.owner}`),
      study.tags.map((tag) => [" ", h("span", { class: "tag" }, tag)]),
      study.note && h("div", { class: "soft note" }, study.note.split("\n")[0].slice(0, 120))),
    cell("state", badge(study.status), underWay(study)),
    cell("answer", ...answer(study)),
    cell("λs × seeds", budget(view, study)),
    cell("data", study.source || study.name, " ", h("code", { class: "soft", title: "fingerprint: equal data have the same" }, study.fingerprint.slice(0, 6))),
    cell("submitted", when(study.created), took(study)));
}

function underWay(study) {
  if (ENDED.includes(study.status)) return study.error && h("div", { class: "problem note" }, study.error.slice(0, 120));
  const left = study.seconds_left ? `, ${duration(study.seconds_left)} left` : "";
  return [h("progress", { max: 1, value: study.progress ?? 0, "aria-label": `Progress of ${study.name}` }),
    h("div", { class: "soft" }, `${study.phase}${left}`)];
}

function answer(study) {
  if (!study.verdict) return ["—"];
  const gain = study.gain === null ? null
    : h("div", { class: "soft" }, `gain ${number(study.gain)}${study.gain_interval ? ` [${interval(study.gain_interval, 2)}]` : ""}`);
  return [badge(study.verdict), " ", h("span", {}, term("λ*"), ` = ${number(study.lambda)}`), gain];
}

function budget(view, { spec, ...study }) {
  const others = Object.entries(chosen({ spec, ...study }, view.schema)).filter(([name]) => !TOLD.includes(name));
  const told = others.map(([name, value]) => `${name.replaceAll("_", " ")} ${[value].flat().join(", ")}`);
  return [`${spec.trials} × ${spec.replicates}`, h("span", { class: "soft" }, `, confirmed by ${(spec.looks || []).at(-1) ?? spec.confirm_replicates}`),
    told.length > 0 && h("div", { class: "soft note" }, told.join("; "))];
}

const took = (study) => study.started && study.ended
  && h("div", { class: "soft" }, `took ${duration((new Date(study.ended) - new Date(study.started)) / 1000)}`);

function compareBar(view) {
  const ids = [...marked];
  view.compare.hidden = !ids.length;
  const words = ids.length < 2 ? "Choose one more to compare." : ids.length > 6 ? "Choose at most six." : null;
  const go = words ? h("span", { class: "soft" }, words)
    : h("a", { class: "button", href: `#/compare/${ids.join(",")}` }, `Compare ${ids.length} studies`);
  view.compare.replaceChildren(go, plain("Choose none", () => {
    marked.clear();
    for (const box of view.body.querySelectorAll("input:checked")) box.checked = false;
    compareBar(view);
  }));
}
