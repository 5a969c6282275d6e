// Who else may see a study: users, and whoever has a link.

import { call } from "../api.js";
import { announce, choice, copying, field, folded, h, plain, when } from "../dom.js";

const DAYS = [[1, "a day"], [7, "a week"], [30, "30 days"], [365, "a year"]];

/** Users of this service who were shown a study. */
export function people(study) {
  const path = `/studies/${study.id}/shares`;
  const shown = h("ul", { class: "plain-list" });
  const problem = h("p", { class: "problem", role: "alert" });
  const list = ({ shared_with: users }) => {
    shown.replaceChildren(...users.map((user) => h("li", {}, `${user} may look at it `,
      plain(`Hide it from ${user}`, () => told(problem, async () => list(await call("DELETE", `${path}/${encodeURIComponent(user)}`)))))));
  };
  const name = h("input", { name: "share-with", required: true, maxlength: 64, size: 14, autocomplete: "off" });
  const add = () => told(problem, async () => {
    list(await call("PUT", `${path}/${encodeURIComponent(name.value.trim())}`));
    announce(`${name.value} may look at it`);
    name.value = "";
  });
  const part = folded("Share it", h("h3", {}, "With a user of this service"),
    h("form", { class: "row end", onsubmit: (event) => { event.preventDefault(); add(); } },
      field("Let another user look at it", name), h("button", { class: "plain" }, "Share")), problem, shown);
  part.id = "share";
  opened(part, () => told(problem, async () => list(await call("GET", path))));
  return part;
}

/** Links that show a study to whoever has them. */
export function links(study) {
  const path = `/studies/${study.id}/links`;
  const shown = h("ul", { class: "plain-list" });
  const fresh = h("div", { "aria-live": "polite" });
  const problem = h("p", { class: "problem", role: "alert" });
  const list = async () => {
    const { links: all } = await call("GET", path);
    shown.replaceChildren(...all.map((link) => h("li", {}, "A link until ", when(link.expires), " ",
      plain("Revoke", () => told(problem, async () => {
        await call("DELETE", `${path}/${link.id}`);
        fresh.replaceChildren();
        announce("the link is revoked");
        await list();
      })))));
  };
  const days = choice("days", DAYS, "30");
  const create = () => told(problem, async () => {
    const made = await call("POST", path, { json: { days: Number(days.value) } });
    const url = new URL(`#/shared/${made.token}`, document.baseURI).href;
    fresh.replaceChildren(h("p", { class: "row" }, h("input", { class: "wide", readonly: true, value: url, "aria-label": "The link" }), copying(() => url, "link")),
      h("p", { class: "soft" }, "It is shown this once. Who has it sees the study and its report, not its encoders."));
    await list();
  });
  const part = folded("Share it by a link", h("form", { class: "row end", onsubmit: (event) => { event.preventDefault(); create(); } },
    field("Good for", days), h("button", { class: "plain" }, "Make a link")), problem, fresh, shown);
  opened(part, () => told(problem, list));
  return part;
}

const opened = (part, work) => part.addEventListener("toggle", () => part.open && work());

async function told(problem, work) {
  problem.textContent = "";
  try {
    await work();
  } catch (error) {
    problem.textContent = error.message;
  }
}
