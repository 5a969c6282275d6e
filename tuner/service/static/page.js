"use strict";
// The web page: a client of the REST API like any other.

const $ = (id) => document.getElementById(id);
const API = "api/v1";
const SECTIONS = ["login", "home", "study"];
const KNEE = 0.1; // of the warped axis of λ: see tuner/space.py
let session = null;
let source = null; // of live events
let refresh = null;
let charts = {};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

class Problem extends Error {
  constructor(status, told) {
    super(told.detail || "the service does not answer");
    this.status = status;
    this.findings = told.findings || [];
  }
}

async function call(method, path, body, headers = {}) {
  let answer;
  try {
    answer = await fetch(`${API}${path}`, { method, body, headers });
  } catch {
    throw new Problem(0, {});
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/session") show("login");
  throw new Problem(answer.status, told);
}

function show(name) {
  for (const section of SECTIONS) $(section).hidden = section !== name;
  $("who").hidden = name === "login";
}

const number = (value, digits = 3) =>
  value === null || value === undefined ? "—" : Number(value.toPrecision(digits)).toString().replace("-", "−");
const warp = (strength) => Math.log1p(strength / KNEE);
const unwarp = (u) => KNEE * Math.expm1(u);

// Login

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-problem").textContent = "";
  try {
    const body = JSON.stringify({ key: $("key").value.trim() });
    await call("POST", "/session", body, { "Content-Type": "application/json" });
    $("key").value = "";
    await start();
  } catch (problem) {
    $("login-problem").textContent = problem.message;
  }
});

$("logout").addEventListener("click", async () => {
  await call("DELETE", "/session");
  session = null;
  leave();
  show("login");
});

// Home: submit and list

for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      $("file").files = event.dataTransfer.files;
      chosen();
    }
  });
}
$("file").addEventListener("change", chosen);

function chosen() {
  const file = $("file").files[0];
  if (!file) return;
  $("example").value = "";
  $("chosen").textContent = `${file.name}, ${(file.size / 2 ** 20).toFixed(2)} MiB`;
}

// What the form holds, as the service wants it.
function request() {
  const options = $("more").value.trim() ? JSON.parse($("more").value) : {};
  for (const name of ["a", "b", "y"]) if ($(name).value.trim()) options[name] = $(name).value.trim();
  for (const name of ["trials", "replicates", "seed"]) options[name] = $(name).valueAsNumber;
  const form = new FormData();
  form.append("spec", JSON.stringify(options));
  if ($("example").value) form.append("data", $("example").value);
  else if ($("file").files[0]) form.append("file", $("file").files[0]);
  return form;
}

// Do something with the form's data set, and show what is wrong with it.
async function withData(button, meanwhile, work) {
  const findings = $("findings");
  const words = button.textContent;
  findings.replaceChildren();
  $("inspection").replaceChildren();
  for (const each of [$("send"), $("inspect")]) each.disabled = true;
  button.textContent = meanwhile;
  try {
    await work(request());
  } catch (problem) {
    findings.append(element("p", { textContent: problem.message }));
    if (problem.findings?.length) findings.append(bullets(problem.findings));
  } finally {
    for (const each of [$("send"), $("inspect")]) each.disabled = false;
    button.textContent = words;
  }
}

const bullets = (texts) => element("ul", {}, ...texts.map((text) => element("li", { textContent: text })));

$("submit-form").addEventListener("submit", (event) => {
  event.preventDefault();
  withData($("send"), "Checking the data set …", async (form) => {
    const study = await call("POST", "/studies", form, { "Idempotency-Key": crypto.randomUUID?.() || String(Math.random()) });
    location.hash = `#/studies/${study.id}`;
  });
});

$("inspect").addEventListener("click", () =>
  withData($("inspect"), "Looking into it …", async (form) => inspected(await call("POST", "/inspections", form))));

function inspected(found) {
  const grid = (heads, rows) =>
    element("div", { className: "scroll", tabIndex: 0 }, element("table", {},
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { textContent: text })))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((text) => element("td", { textContent: text })))))));
  const shape = (sizes) => sizes.map((size) => size.toLocaleString("en")).join(" × ");
  const parts = [element("h3", { textContent: found.valid ? `${found.source}: ${found.rows.toLocaleString("en")} pairs` : `${found.source} cannot be used` })];
  if (found.errors.length) parts.push(element("div", { className: "problem" }, bullets(found.errors)));
  if (found.arrays.length)
    parts.push(grid(["array", "shape", "values", "used as"], found.arrays.map(({ name, shape: sizes, kind, use }) => [name, shape(sizes), kind, use || "not used"])));
  if (found.valid) parts.push(grid(["how it is read", ""], Object.entries(found.reading)));
  if (found.warnings.length) parts.push(element("h4", { textContent: "What you should know" }), bullets(found.warnings));
  $("inspection").replaceChildren(...parts);
}

const from = (study) => (study.owner === session.user ? "" : ` (${study.owner}’s)`);
let next = null;

async function list(cursor = null) {
  const page = await call("GET", `/studies${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
  const rows = page.studies.map((study) =>
    element("tr", {},
      element("td", {}, element("a", { href: `#/studies/${study.id}`, textContent: study.name }), from(study)),
      ...[study.status, study.trials, number(study.lambda), study.verdict || "—", new Date(study.created).toLocaleString()]
        .map((text) => element("td", { textContent: text }))));
  if (cursor) $("studies").append(...rows);
  else $("studies").replaceChildren(...rows);
  next = page.next;
  $("older").hidden = next === null;
  $("none").hidden = page.studies.length > 0 || cursor !== null;
}

$("older").addEventListener("click", () => list(next));

// One study

async function open(id) {
  const study = await call("GET", `/studies/${id}`);
  $("study-name").textContent = study.name;
  document.title = `${study.name} · Alignment tuner`;
  for (const part of ["verdicts", "information", "trials-table", "actions", "curve", "alike", "warnings"]) $(part).replaceChildren();
  $("headline").textContent = "";
  charts = {};
  state(study);
  $("owner").textContent = study.owner === session.user ? "" : `shown to you by ${study.owner}`;
  sharing(study);
  if (study.status === "done") return finished(id);
  buttons(study);
  const points = new Map();
  source = new EventSource(`${API}/studies/${id}/events`);
  source.addEventListener("progress", (event) => {
    const told = JSON.parse(event.data);
    $("bar").value = told.done / told.total;
    const left = told.seconds_left === null ? "" : `, about ${Math.ceil(told.seconds_left)} s left`;
    $("progress").textContent = `${told.phase} ${told.done} of ${told.total}${left}`;
    if (told.point) points.set(told.point.lambda, told.point);
    draw([...points.values()].sort((one, other) => one.lambda - other.lambda), null);
  });
  source.addEventListener("status", (event) => state(JSON.parse(event.data)));
  source.addEventListener("end", async () => {
    source.close();
    const now = await call("GET", `/studies/${id}`);
    state(now);
    buttons(now);
    if (now.status === "done") await finished(id);
  });
}

function state(study) {
  $("state").textContent = study.status;
  $("error").textContent = study.error || "";
  if (study.status === "queued") $("progress").textContent = "waits for its turn";
  if (["done", "failed", "cancelled"].includes(study.status)) $("progress").textContent = "";
  $("bar").hidden = study.status !== "running" && study.status !== "queued";
}

async function sharing(study) {
  $("share-form").hidden = study.owner !== session.user;
  if ($("share-form").hidden) return;
  $("share-problem").textContent = "";
  const path = `/studies/${study.id}/shares`;
  const show = ({ shared_with: users }) => {
    $("shared").replaceChildren(...users.flatMap((user) => [
      `${user} may look at it `,
      element("button", { type: "button", className: "plain", textContent: `Hide it from ${user}`,
        onclick: async () => show(await call("DELETE", `${path}/${encodeURIComponent(user)}`)) }), " "]));
  };
  $("share-form").onsubmit = async (event) => {
    event.preventDefault();
    $("share-problem").textContent = "";
    try {
      show(await call("PUT", `${path}/${encodeURIComponent($("share-with").value.trim())}`));
      $("share-with").value = "";
    } catch (problem) {
      $("share-problem").textContent = problem.message;
    }
  };
  show(await call("GET", path));
}

function buttons(study) {
  const made = [];
  if (study.owner !== session.user) return $("actions").replaceChildren();
  if (study.status === "queued" || study.status === "running")
    made.push(element("button", { type: "button", className: "plain", textContent: "Cancel",
      onclick: async () => state(await call("POST", `/studies/${study.id}/cancel`)) }));
  if (study.status === "done")
    made.push(element("button", { type: "button", className: "plain", textContent: "More seeds",
      onclick: () => moreSeeds(study) }));
  made.push(element("button", { type: "button", className: "plain", textContent: "Delete",
    onclick: async () => {
      if (!confirm(`Delete ${study.name}, its trials and its data?`)) return;
      await call("DELETE", `/studies/${study.id}`);
      location.hash = "#/";
    } }));
  $("actions").replaceChildren(...made);
}

async function moreSeeds(study) {
  const asked = prompt("How many confirming seeds are there to be in all? Leave it empty for as many as would decide the answer.", "");
  if (asked === null) return;
  $("error").textContent = "";
  try {
    const seeds = asked.trim() === "" ? null : Number(asked);
    if (seeds !== null && !Number.isInteger(seeds)) throw new Error(`More seeds: ${asked} is not a whole number.`);
    const longer = await call("POST", `/studies/${study.id}/extend`, JSON.stringify({ seeds }), { "Content-Type": "application/json" });
    location.hash = `#/studies/${longer.id}`;
  } catch (problem) {
    $("error").textContent = problem.message;
  }
}

async function finished(id) {
  const result = await call("GET", `/studies/${id}/result`);
  const titles = { a: "Modality A", b: "Modality B", joint: "Both (mean)" };
  const answers = { a: result.modalities.a, b: result.modalities.b, joint: result.joint };
  $("headline").textContent = result.headline || "";
  $("warnings").replaceChildren(...(result.warnings || []).map((text) => element("p", { textContent: text })));
  $("verdicts").replaceChildren(...Object.entries(answers).map(([target, answer]) => {
    const kind = { align: "align", "do not align": "not" }[answer.verdict] || "";
    const measured = target === "joint" ? answer : answer.test;
    const interval = measured.gain_interval;
    const sure = interval === null ? "" : ` [${number(interval[0])}, ${number(interval[1])}]`;
    const gain = measured.gain === null ? "" :
      `Gain on test rows at λ = ${number(answer.candidate)}: ${number(measured.gain)}${sure}.`;
    return element("article", { className: `card ${kind}` },
      element("h3", { textContent: titles[target] }),
      element("p", { className: "verdict", textContent: answer.verdict }),
      element("p", { textContent: `λ* = ${number(answer.lambda)}; the best λ is in [${number(answer.interval[0])}, ${number(answer.interval[1])}] (95 %).` }),
      element("p", { textContent: gain }),
      element("p", { className: "soft", textContent: answer.evidence }));
  }));
  draw(result.curve, result.joint);
  information(result.information);
  const links = [["report", "Report"], ["encoders/a", "Encoder of A (zip)"], ["encoders/b", "Encoder of B (zip)"], ["result", "Result (JSON)"]];
  buttons(await call("GET", `/studies/${id}`));
  $("actions").prepend(...links.map(([path, text]) => element("a", { href: `${API}/studies/${id}/${path}`, textContent: text })));
  if (session.mlflow && result.mlflow) {
    const { experiment_id: experiment, run_id: run } = result.mlflow;
    $("actions").prepend(element("a", { href: `${session.mlflow}/#/experiments/${experiment}/runs/${run}?workflowType=machine_learning`, textContent: "Runs in MLflow" }));
  }
}

function information(told) {
  if (!told) return;
  const titles = { R: "shared by A and B", U_a: "in A alone", U_b: "in B alone", S: "in both together only" };
  const rows = Object.entries(titles).map(([name, title]) =>
    element("tr", {}, element("td", { textContent: title }),
      element("td", { textContent: `${told[name].value.toFixed(3)}` }),
      element("td", { textContent: `${told[name].low.toFixed(3)} to ${told[name].high.toFixed(3)}` })));
  const head = element("thead", {}, element("tr", {}, ...["of the label's information", "bits", "95 % interval"].map((text) => element("th", { textContent: text }))));
  const words = told.reliable ? `Of ${told.entropy.toFixed(2)} bits, from ${told.rows} rows.` : `Not reliable: ${told.reason}.`;
  $("information").replaceChildren(element("h3", { textContent: "Information profile" }),
    element("div", { className: "scroll", tabIndex: 0 }, element("table", {}, head, element("tbody", {}, ...rows))),
    element("p", { className: "soft", textContent: words }));
}

function draw(curve, joint) {
  const cells = (point) => ["a", "b", "joint"].map((side) => `${point[side].mean.toFixed(4)} ± ${point[side].sem.toFixed(4)}`);
  const names = ["cka", "svcca", "mutual_knn"];
  const alike = ({ similarity, calibrated }) => names.map((name) => {
    if (!similarity) return "—";
    const beyond = calibrated?.[name];
    return similarity[name].toFixed(3) + (beyond ? ` (${beyond.value.toFixed(3)}, p = ${beyond.p.toFixed(3)})` : "");
  });
  $("trials-table").replaceChildren(...curve.map((point) =>
    element("tr", {}, ...[number(point.lambda), ...cells(point), ...alike(point)]
      .map((text) => element("td", { textContent: text })))));
  if (!curve.length) return;
  const x = curve.map((point) => warp(point.lambda));
  const sides = ["a", "b", "joint"].map((side) => curve.map((point) => point[side]));
  chart("curve", "score", ["A", "B", "both"], x, sides.map((side) => side.map((s) => s.mean)), sides.map((side) => side.map((s) => s.sem)), joint);
  if (curve.every((point) => point.similarity)) {
    const beyond = curve.every((point) => point.calibrated);
    const value = (point, name) => beyond ? point.calibrated[name].value : point.similarity[name];
    chart("alike", beyond ? "similarity beyond chance" : "similarity", ["CKA", "SVCCA", "mutual kNN"], x,
      names.map((name) => curve.map((point) => value(point, name))), null, joint);
  }
}

function chart(id, title, labels, x, lines, errors, joint) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const ink = getComputedStyle(document.body).color;
  const grid = { stroke: dark ? "#38414a" : "#d5dae0", width: 1 };
  const colors = dark ? ["#79b8ff", "#e3b341", "#6fd18c"] : ["#0757a8", "#b35900", "#0b6b2e"];
  const marks = [0, 0.1, 0.3, 1, 2, 4, 10, 30, 100].map(warp);
  const bars = (plot) => {
    const context = plot.ctx;
    context.save();
    context.lineWidth = devicePixelRatio * 1.2;
    if (joint) {
      const [from, to] = joint.interval.map((strength) => plot.valToPos(warp(strength), "x", true));
      context.fillStyle = dark ? "#e6e9ec14" : "#1c212610";
      context.fillRect(from, plot.bbox.top, to - from, plot.bbox.height);
    }
    (errors || []).forEach((sems, index) => {
      context.strokeStyle = colors[index];
      sems.forEach((sem, n) => {
        const at = plot.valToPos(x[n], "x", true);
        context.beginPath();
        context.moveTo(at, plot.valToPos(lines[index][n] - sem, "y", true));
        context.lineTo(at, plot.valToPos(lines[index][n] + sem, "y", true));
        context.stroke();
      });
    });
    context.restore();
  };
  const reach = (sign) => lines.flatMap((line, index) => line.map((mean, n) => mean + sign * (errors?.[index][n] ?? 0)));
  const low = Math.min(...reach(-1)), high = Math.max(...reach(1)); // the error bars, too
  const pad = (high - low || 0.1) * 0.05;
  const box = $(id);
  charts[id]?.destroy();
  charts[id] = new uPlot({
    width: box.clientWidth || 600,
    height: 260,
    scales: { x: { time: false }, y: { range: () => [low - pad, high + pad] } },
    axes: [
      { stroke: ink, grid, ticks: grid, label: "λ", splits: (_, __, from, to) => marks.filter((u) => u >= from - 1e-9 && u <= to + 1e-9),
        values: (_, splits) => splits.map((u) => number(unwarp(u), 2)) },
      { stroke: ink, grid, ticks: grid, label: title, size: 60 },
    ],
    series: [{ label: "λ", value: (_, u) => (u === null ? "—" : number(unwarp(u))) },
      ...labels.map((label, index) => ({ label, stroke: colors[index], width: 2, points: { show: true, size: 6 },
        value: (_, value) => (value === null ? "—" : value.toFixed(4)) }))],
    hooks: { drawSeries: [(plot, index) => { if (index === labels.length) bars(plot); }] },
  }, [x, ...lines], box);
}

addEventListener("resize", () => {
  for (const [id, plot] of Object.entries(charts)) plot.setSize({ width: $(id).clientWidth, height: 260 });
});

// Routes

function leave() {
  source?.close();
  clearInterval(refresh);
}

async function route() {
  leave();
  const found = location.hash.match(/^#\/studies\/(\w+)$/);
  try {
    if (found) {
      show("study");
      await open(found[1]);
    } else {
      document.title = "Alignment tuner";
      show("home");
      await list();
      refresh = setInterval(() => list().catch(() => {}), 5000);
    }
    $("main").focus({ preventScroll: true });
  } catch (problem) {
    if (problem.status === 404) location.hash = "#/";
    else if (problem.status !== 401) $("error").textContent = problem.message;
  }
}

async function start() {
  try {
    session = await call("GET", "/session");
  } catch {
    show("login");
    $("key").focus();
    return;
  }
  $("user").textContent = session.user;
  const known = [...$("example").options].map((option) => option.value);
  for (const name of session.examples) if (!known.includes(name)) $("example").append(element("option", { value: name, textContent: name }));
  await route();
}

addEventListener("hashchange", () => session && route());
start();
