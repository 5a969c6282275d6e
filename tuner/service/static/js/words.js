// What the words of the page mean, and how states and verdicts are shown.

import { h } from "./dom.js";

const WORDS = {
  "λ": "How strongly the two encoders are made to agree while they learn: the weight of the alignment loss. At 0 each learns alone.",
  "λ*": "The λ to use. It is 0 unless the gain of a λ above 0 was confirmed.",
  "A and B": "The two modalities: two kinds of measurements of the same things, row by row.",
  "both": "The mean of the scores of A's and B's encoders, each used alone.",
  "alignment": "Training by which pairs of A and B come to lie near each other, and others far apart (the InfoNCE loss, as of CLIP).",
  "seed": "Where a training's random numbers begin. Each λ is trained with several, so that luck is seen for what it is.",
  "confirming seeds": "Fresh seeds with which λ = 0 and the best λ are trained again; these alone, on test rows, decide.",
  "validation rows": "Rows that no encoder is trained on, by which λs are compared during the search.",
  "test rows": "Rows that nothing was chosen by: the gain is measured there.",
  "gain": "How much better the tested λ scores than λ = 0. Above 0 alignment is better, whichever way the metric goes.",
  "95 % interval": "Where the true value lies, unless one is as unlucky as in one study of twenty.",
  "model of the curve": "A smooth curve through the noisy scores (a Gaussian process), with its 95 % band. λ* comes from it, not from the best point.",
  "undecided": "The gain may be real or luck: the data and seeds do not tell. Keep λ = 0, or add seeds.",
  "CKA, SVCCA, mutual kNN": "Three measures of how alike the embeddings of A and B are. Alike is not better.",
  "beyond chance": "0 is what rows of B in random order would give, 1 the greatest possible.",
  "information profile": "How much of what the label tells is found in A alone, in B alone, in each of them (shared), or only in both together; in bits.",
  "fingerprint": "Identifies the content of a data set.",
  "settings": "How encoders are trained: learning rate, weight decay, temperature, width.",
  "parallel coordinates": "One line for each trial, one axis for each setting: lines of good trials show which settings they share.",
};

/** A word with its meaning at hand. */
export const term = (word, shown = word) => h("abbr", { title: WORDS[word] }, shown);

/** The meanings of some words, folded. */
export function glossary(...words) {
  const entries = words.map((word) => [h("dt", {}, word), h("dd", {}, WORDS[word])]);
  return h("details", { class: "glossary" }, h("summary", {}, "Words on this page"), h("dl", {}, entries));
}

export const TARGETS = ["joint", "a", "b"];
export const TITLES = { joint: "A and B together", a: "A alone", b: "B alone" };
export const ENDED = ["done", "failed", "cancelled"];
const TONES = { align: "yes", "do not align": "no", done: "yes", failed: "no", running: "busy", queued: "busy" };

export const badge = (words, properties = {}) => h("span", { class: `badge ${TONES[words] || ""}`, ...properties }, words);
export const tone = (verdict) => TONES[verdict] || "unclear";

const METRICS = { mae: "mean absolute error", r2: "R²", macro_f1: "macro F1" };
export const metricName = (name) => METRICS[name] || (name || "score").replaceAll("_", " ");

export const VERDICTS = ["align", "do not align", "undecided"];
export const STATES = ["queued", "running", "done", "failed", "cancelled"];

/** What the service wrote for the command, with names of fields in place of its flags. */
export const pageWords = (text, schema) => text.replace(/--([a-z][a-z-]*[a-z])/g, (flag, name) => {
  const title = schema[name.replaceAll("-", "_")]?.title;
  return title ? `“${title}”` : flag;
});
