// The answer of a study that is done: what to do first, then the evidence, folded.

import { gains, overlaid } from "../chart.js";
import { folded, grid, h, interval, number } from "../dom.js";
import { metricName, pageWords, TARGETS, TITLES, term, tone } from "../words.js";

const SIMILARITIES = { cka: "CKA", svcca: "SVCCA", mutual_knn: "mutual kNN" };
const ATOMS = { R: "shared by A and B", U_a: "in A alone", U_b: "in B alone", S: "in both together only" };

/**
 * @param {any} result of the API
 * @param {Record<string, any>} schema of the options, for their names
 */
export function answered(result, schema) {
  const metric = metricName(result.metric.name);
  const answers = { joint: result.joint, ...result.modalities };
  return [
    h("p", { class: "headline", id: "headline" }, result.headline || result.joint.verdict),
    h("div", { class: "warnings" }, (result.warnings || []).map((text) => h("p", {}, pageWords(text, schema)))),
    h("div", { class: "cards" }, TARGETS.map((target) => card(target, answers[target], metric, schema))),
    gains(TARGETS.map((target) => ({ name: TITLES[target], ...tested(answers[target]) })), metric, result.joint.smallest_gain ?? null),
  ];
}

/** What else was measured, each part folded. */
export const measured = (result) => [...together(result), ...similarity(result.curve), ...information(result.information)];

/** Gain on test rows with its interval, wherever an answer holds it. */
const tested = (answer) => answer.test ?? answer;

function card(target, answer, metric, schema) {
  const { gain, gain_interval: ends } = tested(answer);
  const sure = ends ? ` [${interval(ends)}]` : "";
  const isAlign = answer.verdict === "align";
  return h("article", { class: `card ${tone(answer.verdict)} ${target}` },
    h("h3", {}, TITLES[target]),
    h("p", { class: "verdict" }, answer.verdict),
    h("p", {}, term("λ*"), ` = ${number(answer.lambda)}`, isAlign ? "" : " (no alignment)", "; the best λ lies in ",
      `${interval(answer.interval)} (95 %).`),
    gain !== null && h("p", {}, term("gain", "Gain"), ` in ${metric} at λ = ${number(answer.candidate)}: ${number(gain)}${sure}.`),
    folded("Evidence", h("p", {}, pageWords(answer.evidence, schema))));
}

/** What both encoders do together, of classification and regression alike; none of older answers. */
function together({ together: told, metric }) {
  if (!told) return [];
  const rows = Object.entries(told.measured).map(([name, of]) =>
    [togetherTitle(name, metricName(metric.name)), number(of.baseline), number(of.best), number(of.gain), of.gain_interval ? interval(of.gain_interval) : "—"]);
  return [folded("Both encoders together: retrieval, a fused head",
    grid("Both encoders together", ["", "λ = 0", `λ = ${number(told.lambda)}`, "gain", "95 % interval"], rows),
    h("p", { class: "soft" }, "On test rows, by the same seeds; no verdict rests on it. Recall@k: share of rows whose partner is among the k nearest of "
      + `${told.gallery} rows, by the projections that are aligned. Zero-shot: the class whose training rows are nearest in the mean, as the other modality embeds them. `
      + "Fused head: what both heads say, added up."))];
}

function togetherTitle(name, metric) {
  const recall = /^recall_at_(\d+)_(.)_to_(.)$/.exec(name);
  if (recall) return `recall@${recall[1]}, ${recall[2].toUpperCase()} → ${recall[3].toUpperCase()}`;
  const zeroShot = /^zero_shot_(.)$/.exec(name);
  return zeroShot ? `zero-shot ${metric} of ${zeroShot[1].toUpperCase()}` : `${metric} of a fused head`;
}

function similarity(curve) {
  const known = curve.filter((point) => point.similarity);
  if (!known.length) return [];
  const isCalibrated = known.every((point) => point.calibrated);
  const value = (point, name) => isCalibrated ? point.calibrated[name].value : point.similarity[name];
  const names = Object.keys(SIMILARITIES);
  const series = names.map((name) => ({ name: SIMILARITIES[name], points: known.map((point) => ({ lambda: point.lambda, mean: value(point, name) })) }));
  const told = (point, name) => point.similarity[name].toFixed(3)
    + (isCalibrated ? ` (${point.calibrated[name].value.toFixed(3)}, p = ${point.calibrated[name].p.toFixed(3)})` : "");
  return [folded("How alike the two representations are",
    overlaid(isCalibrated ? "Similarity beyond chance" : "Similarity", series,
      { maximum: Math.max(...known.map((point) => point.lambda)), label: isCalibrated ? "beyond chance" : "similarity" }),
    grid("Similarity", ["λ", ...names.map((name) => SIMILARITIES[name])],
      known.map((point) => [number(point.lambda), ...names.map((name) => told(point, name))])),
    h("p", { class: "soft" }, "Alike is not better: what counts is the score. ", isCalibrated &&
      "In brackets what is beyond chance (0 is chance, 1 the greatest possible), and the share p of 200 random orders of the rows of B that are as alike or more."))];
}

function information(told) {
  if (!told) return [];
  const rows = Object.entries(ATOMS).map(([name, title]) =>
    [title, told[name].value.toFixed(3), `${told[name].low.toFixed(3)} to ${told[name].high.toFixed(3)}`]);
  const words = told.reliable ? `Of ${told.entropy.toFixed(2)} bits, from ${told.rows} rows.` : `Not reliable: ${told.reason}.`;
  return [folded("Information profile", grid("Information profile", ["of the label's information", "bits", "95 % interval"], rows),
    h("p", { class: "soft" }, words))];
}
