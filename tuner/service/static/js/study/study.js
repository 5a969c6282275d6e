// One study: what to do, why, and what can be done with it.

import { API, call, chosen, command, follow, options, session } from "../api.js";
import { answered, measured } from "./answer.js";
import { lambdaCurve } from "../chart.js";
import { announce, ask, bullets, code, duration, field, folded, grid, h, number, plain, when } from "../dom.js";
import { isElsewhere, isScript, scriptAnswered, scriptCurves, scriptModel, scriptSettings, scriptTrials } from "./script.js";
import { links, people } from "./share.js";
import { badge, ENDED, glossary, metricName, pageWords, TARGETS, TITLES } from "../words.js";

const PHASES = ["waits for its turn", "starting workers", "settings", "short trainings", "search", "confirming", "registering", "done"];
const OPTIONAL = ["settings", "short trainings"]; // phases that few studies have
const OF_EVENTS = { nuisance: "settings", rung: "short trainings" };

/**
 * Show a study, and go on with it as long as it does.
 *
 * @param {HTMLElement} page
 * @param {{path: string, token?: string}} where `/studies/ID`, or what a link shows
 */
export async function showStudy(page, { path, token }) {
  const [schema, study] = await Promise.all([options(), call("GET", path)]);
  const view = { path, token, schema, study, points: new Map(), told: null, stop: () => {} };
  view.isOwn = !token && study.owner === session.user;
  for (const part of ["head", "progress", "answer", "acts", "curve", "more"]) view[part] = h("div", { class: part });
  view.problem = h("p", { class: "problem", role: "alert" });
  page.replaceChildren(view.head, view.problem, view.progress, view.answer, view.acts, view.curve, view.more, words());
  head(view);
  await (study.status === "done" ? finished(view) : unfinished(view));
  return () => view.stop();
}

const words = () => glossary("λ", "λ*", "A and B", "both", "alignment", "gain", "95 % interval", "model of the curve", "seed",
  "confirming seeds", "validation rows", "test rows", "undecided", "CKA, SVCCA, mutual kNN", "beyond chance", "information profile", "fingerprint");

function head(view) {
  const { study } = view;
  document.title = `${study.name} · Alignment tuner`;
  const whose = view.token ? "shown to you by a link" : view.isOwn ? null : `shown to you by ${study.owner}`;
  view.head.replaceChildren(
    h("h2", { id: "study-name" }, study.name),
    h("p", { class: "row" }, badge(study.status, { role: "status", id: "state" }), study.archived && h("span", { class: "tag" }, "archived"),
      (study.tags || []).map((tag) => h("span", { class: "tag" }, tag)),
      h("span", { class: "soft" }, "submitted ", when(study.created), study.source && ` · ${study.source}`), whose && h("span", { class: "soft" }, whose)),
    ...[study.note && h("p", { class: "note" }, study.note)].filter(Boolean));
  view.problem.textContent = pageWords(study.error || "", view.schema);
}

// While it goes on

function unfinished(view) {
  answerless(view);
  if (ENDED.includes(view.study.status)) return more(view);
  more(view);
  const stop = follow(view.path, (kind, told) => heard(view, kind, told).catch((error) => { view.problem.textContent = error.message; }));
  const timer = setInterval(() => document.hidden || renew(view).catch(() => {}), 3000); // phases between trials
  view.stop = () => { stop(); clearInterval(timer); };
  return null;
}

async function heard(view, kind, told) {
  if (kind === "progress") {
    view.told = told;
    if (told.point) view.points.set(told.point.lambda, told.point);
    answerless(view);
  }
  if (kind !== "end") await renew(view);
  if (kind === "end") await ended(view);
}

async function renew(view) {
  const before = view.study;
  view.study = await call("GET", view.path);
  if (JSON.stringify(before) === JSON.stringify(view.study)) return;
  if (before.status !== view.study.status) head(view);
  progress(view);
}

async function ended(view) {
  view.stop();
  await renew(view);
  head(view);
  const { study } = view;
  const said = study.headline || `${study.name}: ${study.status}`;
  announce(said);
  if (view.isNotified && document.hidden) new Notification(study.name, { body: said });
  await (study.status === "done" ? finished(view) : unfinished(view));
}

function answerless(view) {
  progress(view);
  const points = [...view.points.values()].sort((one, other) => one.lambda - other.lambda);
  if (ENDED.includes(view.study.status) && !points.length) return view.curve.replaceChildren();
  curves(view, points, null);
}

function progress(view) {
  const { study, told } = view;
  if (ENDED.includes(study.status)) return view.progress.replaceChildren();
  const phase = phaseOf(view);
  const left = study.seconds_left;
  const steps = PHASES.slice(0, -1).filter((each) => !OPTIONAL.includes(each) || each === phase || isPlanned(study, each));
  const at = steps.indexOf(phase);
  const list = h("ol", { class: "phases" }, steps.map((each, n) =>
    h("li", { class: n < at ? "past" : n === at ? "now" : "", "aria-current": n === at && "step" }, each === phase ? inFull(view, each) : each)));
  const time = left ? `about ${duration(left)} left` : study.step ?? (phase === "starting workers" ? "time left: known after the first trials" : "");
  const words = [...(study.under_way ?? []).slice(0, 2).map(training), time].filter(Boolean).join(", ");
  const bar = h("progress", { max: 1, value: study.progress ?? 0, "aria-label": "Progress of the whole study" });
  view.progress.replaceChildren(list, bar, h("p", { class: "row" }, words && h("span", { class: "soft" }, words), notifying(view)));
}

const isPlanned = ({ spec }, phase) => (phase === "settings" ? (spec.nuisance ?? "none") !== "none" : spec.halving > 1);

function phaseOf({ study, told }) {
  if (study.status === "queued") return PHASES[0];
  if (["nuisance", "rung"].includes(told?.phase)) return OF_EVENTS[told.phase]; // parts of the search
  return study.phase ?? "starting workers";
}

const training = (one) => `λ = ${+one.lambda.toPrecision(3)} in epoch ${Math.floor(one.epoch) + 1} of ${one.epochs}`;

function inFull({ study, points, told }, phase) {
  if (phase === "search" && points.size) return `search, ${points.size} of ${study.spec.trials} λs`;
  return phase === "confirming" && told?.failed ? `confirming (${told.failed} failed)` : phase;
}

function notifying(view) {
  if (typeof Notification === "undefined" || view.isNotified || Notification.permission === "denied") return null;
  return plain("Notify me", async () => {
    view.isNotified = (await Notification.requestPermission()) === "granted";
    announce(view.isNotified ? "This browser will tell you when the study ends." : "The browser does not allow it.");
    progress(view);
  }, { title: "A notice of this browser when the study ends, while this page is open" });
}

// The answer

async function finished(view) {
  view.result = await call("GET", `${view.path}/result`);
  view.progress.replaceChildren();
  view.answer.replaceChildren(...(isScript(view.study) ? scriptAnswered : answered)(view.result, view.schema));
  curves(view, view.result.curve, view.result);
  more(view);
}

function curves(view, points, result) {
  const maximum = view.study.spec.max_lambda ?? 4;
  if (isScript(view.study)) return view.curve.replaceChildren(...scriptCurves(result, maximum));
  const metric = metricName(result?.metric.name ?? view.study.metric);
  const answers = result && { joint: result.joint, ...result.modalities };
  const [joint, a, b] = TARGETS.map((target) => lambdaCurve({
    title: TITLES[target], maximum, metric, answer: answers?.[target], band: band(result, target), height: target === "joint" ? 340 : 260,
    points: points.map((point) => ({ lambda: point.lambda, ...point[target] })),
  }));
  view.curve.replaceChildren(h("h3", {}, "The λ-curve"), joint, h("div", { class: "pair" }, a, b),
    h("p", { class: "soft" }, "Mean scores on validation rows during the search. The axis of λ is stretched near 0. ",
      "λ* comes from the model of the curve, not from the best point, and is confirmed with fresh seeds on test rows."));
}

const band = (result, target) => result?.curve_model && { lambda: result.curve_model.lambda, ...result.curve_model[target] };

// What there is besides, and what can be done

function more(view) {
  const { study, result } = view;
  const cells = ({ mean, sem }) => `${mean.toFixed(4)} ± ${sem.toFixed(4)}`;
  const points = result?.curve ?? [...view.points.values()];
  view.acts.replaceChildren(actions(view));
  view.more.replaceChildren(...[
    result && !view.token && !isScript(study) && encoders(view),
    result && isScript(study) && !view.token && scriptModel(result),
    result && isScript(study) && scriptTrials(result),
    points.length > 0 && !isScript(study) && folded("Every λ that was tried", grid("Trials", ["λ", "seeds", "both", "A", "B"],
      points.map((point) => [number(point.lambda), point.replicates, cells(point.joint), cells(point.a), cells(point.b)]))),
    result && !isScript(study) && measured(result),
    result?.failures.length > 0 && folded("Trials that failed", bullets(result.failures.map((failure) => `λ = ${number(failure.lambda)}, ${failure.phase}: ${failure.reason}`))),
    isScript(study) ? scriptSettings(study) : settings(view),
    view.isOwn && people(study),
    view.isOwn && links(study),
  ].flat().filter(Boolean));
}

function settings(view) {
  const differing = Object.entries(chosen(view.study, view.schema));
  const rows = differing.map(([name, value]) => [view.schema[name].title, value.study ?? [value].flat().join(", "), view.schema[name].description || ""]);
  return folded("How it was asked", rows.length ? grid("Options", ["option", "value", "what it is"], rows) : h("p", {}, "Every option as it is by default."),
    h("p", { class: "soft" }, "The command that asks the same", view.study.source ? ":" : "; DATA stands for the data set:"),
    code(command(view.study, view.schema), "command"),
    h("p", { class: "soft" }, "study ", h("code", {}, view.study.study), ", data ", h("code", {}, view.study.fingerprint)));
}

function encoders(view) {
  const { result, path } = view;
  const models = ["a", "b"].map((side) => [side, result.modalities[side].model]).filter(([, model]) => model);
  if (!models.length) return null;
  const [side, model] = models[0];
  const base = new URL(`${API}${path}`, document.baseURI).href;
  const fromHere = `curl -fsS -H "Authorization: Bearer $TUNER_API_KEY" -o encoder.zip \\\n  ${base}/encoders/${side}\nunzip -q encoder.zip -d encoder`;
  const known = result.mlflow?.tracking_uri ?? "";
  const uri = session.mlflow || (known.startsWith("http") && known); // else a file that is not the reader's
  const load = (from) => `import mlflow\n${from}answer = encoder.predict(x)  # rows of the data; arrays: embedding, prediction, ...`;
  return h("section", {}, h("h3", {}, "Encoders"),
    h("p", { class: "row" }, models.map(([each]) => h("a", { href: `${base}/encoders/${each}` }, `Encoder of ${each.toUpperCase()} (zip)`))),
    folded("To use them in Python",
      h("p", {}, "From where you are, with your key in ", h("code", {}, "TUNER_API_KEY"), ":"), code(fromHere, "download"),
      code(load('encoder = mlflow.pyfunc.load_model("encoder")\n'), "code to load the downloaded encoder"),
      uri && [h("p", {}, "From MLflow's registry", session.mlflow ? ":" : ", where this service knows it (you may not reach it):"),
        code(load(`mlflow.set_tracking_uri("${uri}")\nencoder = mlflow.pyfunc.load_model("models:/${model.name}/${model.version}")\n`), "code for MLflow")]));
}

function actions(view) {
  const { study, result, path, token } = view;
  const isDone = study.status === "done";
  const link = (to, shown, properties = {}) => h("a", { href: to, ...properties }, shown);
  const runs = session.mlflow && result?.mlflow && `${session.mlflow}/#/experiments/${result.mlflow.experiment_id}/runs/${result.mlflow.run_id}?workflowType=machine_learning`;
  return h("p", { class: "row actions" },
    isDone && link(`${API}${path}/report`, "Report"),
    isDone && link(`${API}${path}/curve.csv`, "Curve (CSV)", { download: "" }),
    isDone && link(`${API}${path}/result`, "Result (JSON)"),
    runs && link(runs, "Runs in MLflow"),
    !token && again(study) && link(`${again(study)}?again=${study.id}`, "Again with …"),
    ...(view.isOwn ? owners(view, isDone) : []));
}

/** The form that asks the same; null where the code is trained elsewhere. */
function again(study) {
  if (!isScript(study)) return "#/new";
  return isElsewhere(study) ? null : `#/new/${study.source}`;
}

function owners(view, isDone) {
  const { study, path } = view;
  return [
    !ENDED.includes(study.status) && plain("Cancel", () => tried(view, async () => { await call("POST", `${path}/cancel`); await renew(view); })),
    isDone && !isScript(study) && plain("More seeds", () => moreSeeds(view)),
    plain("Name, note, tags", () => edit(view)),
    plain(study.archived ? "Unarchive" : "Archive", () => tried(view, () => patch(view, { archived: !study.archived })),
      { title: "Archived studies are not in the list, unless asked for" }),
    plain("Delete", () => ask({
      title: `Delete ${study.name}?`, action: "Delete", danger: true,
      body: [h("p", {}, "Its trials and its data go, too, unless another study has the same. Runs and models in MLflow stay.")],
      run: async () => { await call("DELETE", path); location.hash = "#/"; },
    })),
  ];
}

async function tried(view, work) {
  view.problem.textContent = "";
  try {
    await work();
  } catch (error) {
    view.problem.textContent = error.message;
  }
}

async function patch(view, changes) {
  view.study = await call("PATCH", view.path, { json: changes });
  head(view);
  more(view);
}

function edit(view) {
  const { study } = view;
  const split = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);
  ask({
    title: "Name, note, tags", action: "Save",
    body: [field("Name", h("input", { name: "name", value: study.name, required: true, maxlength: 64 })),
      field("Note", h("textarea", { name: "note", rows: 4, maxlength: 10000, value: study.note || "" })),
      field("Tags", h("input", { name: "tags", value: (study.tags || []).join(", ") }), "separated by commas")],
    run: ({ elements }) => patch(view, { name: elements.name.value, note: elements.note.value, tags: split(elements.tags.value) }),
  });
}

function moreSeeds({ study, path }) {
  const has = (study.spec.looks || []).at(-1) ?? study.spec.confirm_replicates;
  ask({
    title: "More seeds", action: "Train them",
    body: [h("p", {}, `The answer rests on ${has} confirming seeds. More make its interval narrower; nothing is trained again.`),
      field("Confirming seeds in all", h("input", { type: "number", name: "seeds", min: 2, step: 1, placeholder: "as many as would decide" }),
        "Leave it empty for as many as would decide the answer.")],
    run: async ({ elements }) => {
      const seeds = elements.seeds.value === "" ? null : Number(elements.seeds.value);
      const longer = await call("POST", `${path}/extend`, { json: { seeds } });
      location.hash = `#/studies/${longer.id}`;
    },
  });
}
