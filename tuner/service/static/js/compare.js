// Two to six studies side by side: their curves in one picture, and what differs marked.

import { call, chosen, options } from "./api.js";
import { overlaid, parallel, scatter } from "./chart.js";
import { choice, h, interval, number, when } from "./dom.js";
import { mainAnswer } from "./study/script.js";
import { badge, glossary, metricName, TITLES } from "./words.js";

const LOGARITHMIC = ["learning_rate", "weight_decay", "temperature", "hidden"];

/** Show the studies of some ids; those without an answer have no curve. */
export async function showCompare(page, ids) {
  const schema = await options();
  const studies = await Promise.all(ids.slice(0, 6).map(async (id) => {
    const study = await call("GET", `/studies/${encodeURIComponent(id)}`);
    return { study, result: study.status === "done" ? await call("GET", `/studies/${id}/result`) : null };
  }));
  const named = studies.map((each, n) => ({ ...each, name: `${String.fromCharCode(49 + n)}. ${each.study.name}` }));
  const answered = named.filter(({ result }) => result?.joint); // one of code has other targets
  page.replaceChildren(h("h2", {}, `${named.length} studies compared`), ...[
    answered.length > 0 && curves(answered),
    table(named, schema),
    ...answered.filter(({ result }) => result.nuisance).map(settings),
    glossary("λ", "λ*", "gain", "both", "seed", "validation rows", "test rows", "settings", "parallel coordinates"),
  ].filter(Boolean));
  return () => {};
}

function curves(studies) {
  const place = h("div");
  const draw = (target) => {
    const series = studies.map(({ name, result }) => ({ name, star: { joint: result.joint, ...result.modalities }[target].lambda,
      points: result.curve.map((point) => ({ lambda: point.lambda, ...point[target] })) }));
    const metrics = new Set(studies.map(({ result }) => metricName(result.metric.name)));
    const maximum = Math.max(...studies.map(({ study, result }) => study.spec.max_lambda ?? result.curve.at(-1).lambda));
    place.replaceChildren(overlaid(`Scores on validation rows, ${TITLES[target]}; a triangle marks each λ*`, series,
      { maximum, label: [...metrics].join(" and ") }));
    if (metrics.size > 1) place.append(h("p", { class: "warnings" }, "These studies measure by different metrics: their heights cannot be compared."));
  };
  const target = choice("target", Object.entries(TITLES), "joint");
  target.addEventListener("change", () => draw(target.value));
  draw("joint");
  return h("section", {}, h("h3", {}, "The λ-curves"), h("label", { class: "inline" }, "Scores of ", target), place);
}

function table(studies, schema) {
  const heads = studies.map(({ name, study }) => h("th", { scope: "col" }, h("a", { href: `#/studies/${study.id}` }, name)));
  const body = [...answerRows(studies), ...optionRows(studies, schema)].map(([label, cells, texts]) => {
    const differs = new Set(texts).size > 1;
    return h("tr", { class: differs && "differs" }, h("th", { scope: "row" }, label, differs && h("span", { class: "mark", title: "they differ" }, " ≠")), cells.map((cell) => h("td", {}, cell)));
  });
  return h("section", {}, h("h3", {}, "Answers and settings"),
    h("p", { class: "soft" }, "A ≠ marks what differs. Options that are the same and as by default are left out."),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Comparison" }, h("table", {},
      h("thead", {}, h("tr", {}, h("td"), heads)), h("tbody", {}, body))));
}

// Rows: what they are called, their cells, and texts by which they differ.
function answerRows(studies) {
  const row = (label, of) => {
    const texts = studies.map(of);
    return [label, texts, texts];
  };
  const joint = (words) => ({ result }) => (result ? words(mainAnswer(result)) : "—");
  return [
    ["verdict", studies.map(({ study }) => badge(study.verdict || study.status)), studies.map(({ study }) => study.verdict || study.status)],
    row("λ*", joint((answer) => number(answer.lambda))),
    row("best λ, 95 % interval", joint((answer) => interval(answer.interval))),
    row("gain on test rows", joint((answer) => `${number(answer.gain)}${answer.gain_interval ? ` [${interval(answer.gain_interval, 2)}]` : ""}`)),
    row("metric", ({ result }) => (result ? metricName(result.metric?.name ?? result.main) : "—")),
    row("trainings", ({ result }) => String(result?.cost.trainings ?? "—")),
    row("data", ({ study }) => `${study.source || study.name} (${study.fingerprint.slice(0, 6)})`),
    ["submitted", studies.map(({ study }) => when(study.created)), [""]],
  ];
}

function optionRows(studies, schema) {
  const each = studies.map(({ study }) => chosen(study, schema));
  const names = Object.keys(schema).filter((name) => name !== "name" && each.some((options) => name in options));
  return names.map((name) => {
    const texts = each.map((options) => String(name in options ? options[name].study ?? [options[name]].flat().join(", ") : schema[name].default ?? "none"));
    return [schema[name].title, texts, texts];
  });
}

function settings({ name, study, result }) {
  const { trials } = result.nuisance;
  const sign = result.metric.direction === "maximize" ? 1 : -1;
  const scores = trials.map(({ joint }) => sign * joint.mean);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const names = Object.keys(trials[0]?.settings ?? {});
  const words = (trial) => `λ = ${number(trial.lambda)}, ${names.map((each) => `${each.replaceAll("_", " ")} ${number(trial.settings[each])}`).join(", ")}: ${trial.joint.mean.toFixed(4)}`;
  const metric = metricName(result.metric.name);
  const axes = [...names.map((each) => ({ name: each, isLog: LOGARITHMIC.includes(each) && trials.every((trial) => trial.settings[each] > 0) })), { name: "λ", isLog: false }, { name: metric, isLog: false }];
  const lines = trials.map((trial, n) => ({ words: words(trial), goodness: high === low ? 1 : (scores[n] - low) / (high - low),
    values: { ...trial.settings, "λ": trial.lambda, [metric]: trial.joint.mean } }));
  const dots = trials.map((trial) => ({ lambda: trial.lambda, score: trial.joint.mean, words: words(trial) }));
  return h("section", {}, h("h3", {}, `Training settings that ${name} tried`),
    parallel("Settings and score of each trial", axes, lines),
    scatter("Score by λ", dots, { maximum: study.spec.max_lambda ?? 4, label: metric, best: dots[scores.indexOf(high)] }));
}
