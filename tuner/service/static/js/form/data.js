// A new study: its data are looked into at once, and what is wrong stands beside its field.

import { call, chosen, earlier, options, session } from "../api.js";
import { announce, bullets, choice, count, duration, field, folded, grid, h, interval, number, plain } from "../dom.js";
import { glossary, TARGETS, TITLES } from "../words.js";
import { beside, control, DATA, fill, isWellFormed, placed, refused, submitted, unsaid, values } from "./fields.js";

const PLAN = ["task", "metric", "encoder_a", "encoder_b", "trials", "replicates", "confirm_replicates", "time_budget", "seed", "name"];
const HIDDEN = ["looks"]; // of `tuner extend`, which is a button of a study
const GROUPS = [
  ["How the data are read", ["a_mask", "b_mask", "a_lengths", "b_lengths", "keep_copies_apart", "a_layout", "b_layout", "a_size", "b_size", "missing"]],
  ["The search", ["max_lambda", "sampler", "batch", "smallest_gain", "subject_to", "folds", "validation_folds", "stop_early", "halving", "warm_start", "prior", "nuisance", "nuisance_trials", "nuisance_parameters", "step_budget"]],
  ["Machines", ["workers", "cpus", "gpus", "ranks", "precision"]],
];
const FILES = ".npz,.safetensors,.parquet,.csv,.tsv";
const NOTICES = ["webhook", "webhook_format", "email"]; // sent beside the spec

/** Show the form, filled with the options of an earlier study if the address names one. */
export async function showForm(page, query) {
  const schema = await options();
  const [again, offers] = await Promise.all([earlier(query), query.get("again") ? [] : call("GET", "/scripts")]);
  const form = made(schema);
  page.replaceChildren(h("h2", {}, again ? `${again.name}, again with …` : "New study"), offered(offers), form.element,
    glossary("λ", "A and B", "alignment", "seed", "confirming seeds", "validation rows", "test rows", "settings"));
  if (again) refill(form, again);
  return () => form.stop();
}

/** The training code that this service offers to train, instead of a data set. */
function offered(offers) {
  if (!offers.length) return h("p", { hidden: true });
  const links = offers.map(({ name }) => h("a", { href: `#/new/${name}` }, name));
  return h("p", {}, "Of a data set, or of training code that this service offers to train: ",
    links.flatMap((link, n) => (n ? [", ", link] : [link])), ".");
}

function made(schema) {
  const form = { schema, asked: null, timer: null, found: null };
  form.summary = h("div", { class: "problem", role: "alert", tabindex: -1 });
  form.reading = h("div", { "aria-live": "polite" });
  form.cost = h("p", { class: "cost", "aria-live": "polite" });
  form.plan = h("div", { "aria-live": "polite" });
  form.forecasts = FORECASTS.map((forecast) => plain(forecast.label, () => foretell(form, forecast), { hidden: true }));
  form.send = h("button", {}, "Submit");
  form.element = h("form", { novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(form); } },
    dataPart(form),
    h("fieldset", {}, h("legend", {}, "Which arrays"), h("div", { class: "fields" }, DATA.map((name) => control(form, name)))),
    form.reading,
    h("fieldset", {}, h("legend", {}, "What to try"), h("div", { class: "fields" }, PLAN.map((name) => control(form, name)))),
    folded("Everything else", rest(form)),
    form.summary, form.cost, h("p", { class: "row" }, form.forecasts), form.plan, h("p", {}, form.send));
  // What was said goes while one types: on leaving the field, it would move the button one clicks.
  form.element.addEventListener("input", ({ target }) => target.name && unsaid(form, target.name));
  form.element.addEventListener("change", ({ target }) => NOTICES.includes(target.name) || later(form));
  form.stop = () => { clearTimeout(form.timer); form.asked?.abort(); form.planned?.abort(); };
  return form;
}

// The data set: a file, or where one is

function dataPart(form) {
  form.file = h("input", { type: "file", id: "file", accept: FILES });
  form.uri = h("input", { name: "data", list: "examples", placeholder: "mfeat, or https://…", autocomplete: "off" });
  form.named = h("p", { class: "soft", "aria-live": "polite" }, "One row for each pair: arrays a and b, and labels y. Other names can be chosen below.");
  const drop = h("div", { class: "drop" },
    h("label", { for: "file" }, h("strong", {}, "Drop a file here"), ", or choose one: .npz, .safetensors, .parquet, .csv or .tsv"), form.file, form.named);
  const over = (is) => (event) => { event.preventDefault(); drop.classList.toggle("over", is); };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    if (!event.dataTransfer.files.length) return;
    form.file.files = event.dataTransfer.files;
    form.file.dispatchEvent(new Event("change", { bubbles: true }));
  });
  form.file.addEventListener("change", () => { form.uri.value = ""; dataChanged(form); });
  form.uri.addEventListener("change", () => { form.file.value = ""; dataChanged(form); });
  return h("fieldset", {}, h("legend", {}, "The data set"), drop,
    h("datalist", { id: "examples" }, session.examples.map((name) => h("option", { value: name }))),
    field("Or its URI, or an example", form.uri, `Examples: ${session.examples.join(", ")}. study:ID stands for the data of a study of yours.`));
}

function dataChanged(form) {
  const file = form.file.files[0];
  form.named.textContent = file ? `${file.name}, ${(file.size / 2 ** 20).toFixed(2)} MiB` : "";
  for (const name of DATA) { // those of other data mean nothing here
    const select = form.element.elements[name];
    if (form.found) select.value = "";
  }
  form.found = null;
}

function rest(form) {
  const grouped = GROUPS.flatMap(([, names]) => names);
  const others = Object.keys(form.schema).filter((name) => ![...DATA, ...PLAN, ...HIDDEN, ...grouped].includes(name));
  const groups = [GROUPS[0], GROUPS[1], ["Training", others], GROUPS[2]];
  return [
    groups.map(([title, names]) => h("fieldset", {}, h("legend", {}, title), h("div", { class: "fields" }, names.map((name) => control(form, name))))),
    h("fieldset", {}, h("legend", {}, "Tell me when it ends"), h("div", { class: "fields" },
      placed("Webhook", h("input", { type: "url", name: "webhook", placeholder: "https://…" }), "URL that is called, signed"),
      placed("Its format", choice("webhook_format", [["", "standard"], ["slack", "Slack"]]), "what is sent there"),
      session.email && placed("E-mail", h("input", { type: "email", name: "email", autocomplete: "email" }), "one sentence and a link"))),
  ];
}

function request(form, notices) {
  const sent = new FormData();
  sent.append("spec", JSON.stringify(values(form)));
  for (const name of notices ? NOTICES : []) {
    const value = form.element.elements[name]?.value.trim();
    if (value) sent.append(name, value);
  }
  const [file, uri] = [form.file.files[0], form.uri.value.trim()];
  if (file) sent.append("file", file);
  else if (uri) sent.append("data", uri);
  return sent;
}

const hasData = (form) => form.file.files.length > 0 || form.uri.value.trim() !== "";

/** Fill the form with what an earlier study was asked. */
function refill(form, study) {
  fill(form, chosen(study, form.schema));
  const isOwn = study.owner === session.user; // who was shown an answer was not given its data
  if (isOwn) form.uri.value = `study:${study.id}`;
  form.named.textContent = isOwn ? `The data of ${study.name}, or others:` : "Choose the data: the options below are those of then.";
  later(form);
}

// Looking into the data

function later(form) {
  clearTimeout(form.timer);
  forgetPlan(form);
  form.timer = setTimeout(() => inspect(form), 300);
}

async function inspect(form) {
  if (!hasData(form) || !isWellFormed(form)) return;
  form.asked?.abort();
  const asked = form.asked = new AbortController();
  form.element.setAttribute("aria-busy", "true");
  if (!form.found) form.reading.replaceChildren(h("p", { class: "soft" }, "Looking into the data …"));
  try {
    const found = await call("POST", "/inspections", { form: request(form), signal: asked.signal });
    inspected(form, found);
  } catch (error) {
    if (error.name === "AbortError") return;
    form.reading.replaceChildren();
    form.cost.textContent = "";
    for (const button of form.forecasts) button.hidden = true;
    refused(form, error, false);
  } finally {
    if (asked === form.asked) form.element.removeAttribute("aria-busy");
  }
}

function inspected(form, found) {
  form.found = found;
  arraysToChoose(form, found);
  unsaid(form);
  const shape = (sizes) => sizes.map(count).join(" × ");
  const elsewhere = found.findings.filter((finding) => !beside(form, finding));
  const of = (severity) => elsewhere.filter((each) => each.severity === severity).map(({ text }) => text);
  const title = found.valid ? `${found.source}: ${count(found.rows)} pairs` : `${found.source} cannot be used yet`;
  form.reading.replaceChildren(h("h3", {}, title), ...[
    of("error").length > 0 && h("div", { class: "problem" }, bullets(of("error"))),
    of("warning").length > 0 && h("div", { class: "warnings" }, bullets(of("warning"))),
    found.arrays.length > 0 && grid("Arrays", ["array", "shape", "values", "used as"],
      found.arrays.map(({ name, shape: sizes, kind, use }) => [name, shape(sizes), kind, use || "not used"])),
    found.valid && folded("How it is read", grid("How it is read", ["what", "how"], Object.entries(found.reading))),
  ].filter(Boolean));
  expected(form, found);
  announce(title);
}

/** Offer the arrays of the file where one is to be chosen; what was chosen stays. */
function arraysToChoose(form, found) {
  const names = found.arrays.map(({ name }) => name);
  if (!names.length) return;
  for (const option of DATA) {
    const select = form.element.elements[option];
    const kept = select.value;
    const used = found.arrays.find(({ use }) => use && isOf(use, option))?.name;
    const byName = used && !kept ? `${used} (by its name)` : "by its name";
    select.replaceChildren(h("option", { value: "" }, byName), ...names.map((name) => h("option", { value: name }, name)));
    if (option === "split") select.append(h("option", { value: "none" }, "none: make one"));
    if (kept && ![...select.options].some(({ value }) => value === kept)) select.append(h("option", { value: kept }, `${kept} (not in this file)`));
    select.value = kept;
  }
}

const isOf = (use, option) => ({ a: "A", b: "B", y: "label", split: "split", group: "groups" }[option] === use);

function expected(form, found) {
  const { cost } = found;
  form.cost.replaceChildren();
  const isKnown = found.valid && Boolean(cost);
  for (const button of form.forecasts) button.hidden = !isKnown;
  if (!isKnown) return;
  const workers = cost.workers ? ` with ${cost.workers} at a time` : "";
  const seconds = cost.seconds ? ` About ${duration(cost.seconds)}${workers}, if nothing ends early: an estimate.` : "";
  form.cost.append(h("strong", {}, `Expected: ${count(cost.trainings)} trainings`), `, ${count(cost.steps)} gradient steps.${seconds}`);
  const shorter = (cost.shorter ?? []).map((one) => `${one.option.replace("_", " ")} ${one.option === "time_budget" ? duration(one.value) : one.value} (${duration(one.seconds)})`);
  if (shorter.length) form.cost.append(` Shorter: ${shorter.join(", ")}.`);
}

// What a study would show, by a few of its trainings, or by past studies without any

const FORECASTS = [
  { label: "What would it show?", path: "/plans", doing: "Three λs are trained for it", show: planned },
  { label: "What do past studies say?", path: "/predictions", doing: "Nothing is trained for it", show: predicted },
];

function planned({ words: [cost, given, ...shown] }) {
  return [h("p", {}, cost), h("p", {}, given), bullets(shown)];
}

function predicted({ targets, words: [headline, ...rest] }) {
  const told = TARGETS.filter((target) => targets[target]);
  if (!told.length) return [h("p", {}, headline), bullets(rest)];
  const row = (target) => {
    const { lambda, interval: within, probability, curve } = targets[target];
    const at = curve.reduce((best, point) => (Math.abs(point.lambda - lambda) < Math.abs(best.lambda - lambda) ? point : best));
    const share = (chance) => `${Math.round(100 * chance)} %`;
    return [TITLES[target], share(probability.helps), share(probability.harms), share(probability.neither),
      `${number(lambda)} (${interval(within)})`, `${number(at.mean)} (${interval([at.low, at.high])})`];
  };
  return [h("p", {}, headline), grid("What past studies say", ["score", "helps", "harms", "not worth it", "λ to begin with (80 %)", "gain there (80 %)"], told.map(row)),
    h("p", { class: "soft" }, rest.at(-1))];
}

/** Ask for a forecast; it ends when one leaves, changes something, or stops it. */
async function foretell(form, forecast) {
  if (!isWellFormed(form)) return;
  const asked = form.planned = new AbortController();
  const began = Date.now();
  const words = h("span", { "aria-live": "off" });
  const ticking = setInterval(() => { words.textContent = `, for ${duration((Date.now() - began) / 1000)} now`; }, 1000);
  enable(form, false);
  form.plan.replaceChildren(h("p", { class: "row soft" }, h("span", {}, forecast.doing, words, " …"), plain("Stop", () => forgetPlan(form))));
  try {
    const told = await call("POST", forecast.path, { form: request(form), signal: asked.signal });
    form.plan.replaceChildren(...forecast.show(told));
  } catch (error) {
    if (error.name === "AbortError") return;
    form.plan.replaceChildren(h("div", { class: "problem" }, h("p", {}, error.message), error.findings?.length > 0 && bullets(error.findings)));
  } finally {
    clearInterval(ticking);
    if (asked === form.planned) enable(form, true);
  }
}

/** What was forecast is of other options than these. */
function forgetPlan(form) {
  form.planned?.abort();
  form.planned = null;
  enable(form, true);
  form.plan.replaceChildren();
}

function enable(form, isEnabled) {
  for (const button of form.forecasts) button.disabled = !isEnabled;
}

async function submit(form) {
  unsaid(form);
  if (!isWellFormed(form)) return form.element.querySelector("[aria-invalid]")?.focus();
  if (!hasData(form)) {
    form.summary.textContent = "Choose a file, or name a URI or an example.";
    return form.file.focus();
  }
  form.stop();
  await submitted(form, "/studies", { form: request(form, true) }, "Checking the data …");
}
