// Where one is: the address says what is shown, and who is not logged in is asked to.

import { call, forget, known, session } from "./api.js";
import { showCompare } from "./compare.js";
import { $, h } from "./dom.js";
import { showForm } from "./form/data.js";
import { showScriptForm } from "./form/script.js";
import { showList } from "./list.js";
import { showStudy } from "./study/study.js";

const ROUTES = [
  [/^#?\/?$/, (page, _, query) => showList(page, query)],
  [/^#\/new$/, (page, _, query) => showForm(page, query)],
  [/^#\/new\/([\w-]+)$/, (page, [name], query) => showScriptForm(page, name, query)],
  [/^#\/studies\/(\w+)$/, (page, [id]) => showStudy(page, { path: `/studies/${id}` })],
  [/^#\/compare\/([\w,]+)$/, (page, [ids]) => showCompare(page, ids.split(","))],
  [/^#\/shared\/([\w-]+)$/, (page, [token]) => showStudy(page, { path: `/shared/${token}`, token })],
];
const SHARED = "#/shared/"; // needs no account
let leave = () => {};
let visit = 0;

async function route() {
  const mine = ++visit;
  leave();
  leave = () => {};
  const [address, query = ""] = location.hash.split("?");
  if (!session.user && !address.startsWith(SHARED)) return login();
  document.title = "Alignment tuner";
  const [pattern, show] = ROUTES.find(([each]) => each.test(address)) ?? [];
  const page = h("div", { class: "page" });
  $("main").replaceChildren(h("p", { class: "soft" }, "Loading …"));
  try {
    const end = show ? await show(page, address.match(pattern).slice(1), new URLSearchParams(query)) : missing(page, "There is no such page.");
    if (mine !== visit) return end(); // one has gone on meanwhile
    leave = end;
  } catch (error) {
    if (mine !== visit || error.status === 401) return;
    missing(page, error.status === 404 ? unknown(address, error) : error.message);
  }
  $("main").replaceChildren(page);
  if (mine > 1) $("main").focus({ preventScroll: true }); // else one has just come: from the top
  scrollTo(0, 0);
}

const unknown = (address, error) => (address.startsWith(SHARED)
  ? "This link shows nothing: it has expired or was revoked, or the study was deleted. Ask who gave it to you for another."
  : `There is no such study: ${error.message}. It may have been deleted, or nobody has shown it to you.`);

function missing(page, words) {
  page.replaceChildren(h("h2", {}, "Not found"), h("p", { role: "alert" }, words), h("p", {}, h("a", { href: "#/" }, "To the studies")));
  return () => {};
}

function login() {
  who();
  const key = h("input", { id: "key", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "key-help" });
  const problem = h("p", { class: "problem", role: "alert" });
  const enter = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await call("POST", "/session", { json: { key: key.value.trim() } });
      await start();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  document.title = "Log in · Alignment tuner";
  $("main").replaceChildren(h("h2", {}, "Log in"), h("form", { onsubmit: enter }, h("label", { for: "key" }, "API key"), key,
    h("p", { id: "key-help", class: "soft" }, "The first one is in ", h("code", {}, ".tuner/api-key"), " of the machine that serves; ",
      h("code", {}, "tuner key create"), " makes others."), h("button", {}, "Log in"), problem));
  key.focus();
}

function who() {
  $("who").hidden = !session.user;
  $("user").textContent = session.user || "";
}

async function start() {
  try {
    await known();
    who();
    await route();
  } catch (error) {
    $("main").replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
  }
}

$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the page's address
  $("main").focus();
});
$("logout").addEventListener("click", async () => {
  await call("DELETE", "/session").catch(() => {});
  forget();
  route();
});
addEventListener("logged-out", () => { forget(); route(); });
addEventListener("hashchange", route);
start();
