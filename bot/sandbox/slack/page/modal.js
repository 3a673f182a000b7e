// The modal in front, and what is typed into it until it is submitted.

import { blocks } from "./blocks.js";
import { fill, h, line, svg } from "./dom.js";
import { plain } from "./mrkdwn.js";
import { changed, here, perform, world } from "./state.js";

const typedIn = (view) => {
  if (!here.typed.has(view.id)) here.typed.set(view.id, {});
  return here.typed.get(view.id);
};
const INPUT_SIDE = new Set(["plain_text_input", "email_text_input", "url_text_input", "number_input"]);

// What using an element of a view does: inputs are kept until the submit, others are told to the app at once.
export function actIn(view) {
  return async (element, block, value) => {
    const stateful = !["button", "overflow"].includes(element.type);
    if (stateful) typedIn(view)[block.block_id] = { ...typedIn(view)[block.block_id], [element.action_id]: value };
    if (block.type === "input" && !block.dispatch_action) return;
    if (INPUT_SIDE.has(element.type)) return;
    here.failures.delete(view.id);
    const values = view.type === "modal" ? Object.fromEntries(Object.entries(typedIn(view)).filter(([id]) => view.blocks.some((each) => each.block_id === id && each.type === "input"))) : {};
    const outcome = await perform({ do: "act_in_view", view: view.id, action: element.action_id, block: block.block_id, value, values });
    if (outcome.error) here.failures.set(view.id, outcome.error);
    changed();
  };
}

// What the server knows of the view's inputs, with what was typed since.
function valuesOf(view) {
  const merged = structuredClone(view.state.values);
  for (const [block, actions] of Object.entries(here.typed.get(view.id) || {}))
    for (const [action, value] of Object.entries(actions))
      if (merged[block]?.[action]) merged[block][action] = { type: "typed", value };
  return merged;
}

async function submit(view, button) {
  here.failures.delete(view.id);
  button.disabled = true;
  button.classList.add("busy");
  const known = new Set(view.blocks.map((block) => block.block_id));
  const values = Object.fromEntries(Object.entries(typedIn(view)).filter(([id]) => known.has(id)));
  const outcome = await perform({ do: "submit", view: view.id, values });
  button.disabled = false;
  button.classList.remove("busy");
  if (outcome.error) here.failures.set(view.id, outcome.error);
  changed();
}

const close = (view) => perform({ do: "close", view: view.id });

function keys(view) {
  return (event) => {
    if (event.key === "Escape") { event.stopPropagation(); close(view); }
    if (event.key === "Enter" && event.target.matches("input.field")) { event.preventDefault(); event.currentTarget.querySelector("[data-testid=modal-submit]")?.click(); }
    if (event.key !== "Tab") return;
    const stops = [...event.currentTarget.querySelectorAll("button, input, textarea, select, a[href]")].filter((each) => !each.disabled && each.offsetParent);
    const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
    if (document.activeElement === edge) { event.preventDefault(); (event.shiftKey ? stops[stops.length - 1] : stops[0]).focus(); }
  };
}

function draw(view) {
  const failure = here.failures.get(view.id);
  const send = view.submit && h("button", { class: "button primary", type: "button", testid: "modal-submit", onclick: (event) => submit(view, event.currentTarget) }, plain(view.submit.text));
  return h("div", { class: "backdrop" },
    h("section", { class: "dialog modal", role: "dialog", "aria-modal": "true", "aria-label": view.title.text, testid: "modal", "data-view-id": view.id, "data-callback-id": view.callback_id, onkeydown: keys(view) },
      h("header", {}, h("span", { class: "avatar app small" }, svg([{ shape: "rect", at: { x: 4, y: 6, width: 16, height: 12, rx: 1.8 } }, line("M4.500 7.500l7.500 6 7.500-6")], { size: 16 })),
        h("h2", { testid: "modal-title" }, plain(view.title.text)),
        h("button", { class: "icon-button", type: "button", "aria-label": "Close", testid: "modal-cross", onclick: () => close(view) }, svg([line("M6 6l12 12M18 6L6 18")], { size: 18 }))),
      failure && h("div", { class: "notice error", role: "alert", testid: "modal-error" }, failure),
      h("div", { class: "modal-body" }, blocks(view.blocks, actIn(view), valuesOf(view), view.errors)),
      h("footer", {}, h("button", { class: "button", type: "button", testid: "modal-close", onclick: () => close(view) }, plain(view.close?.text || (view.submit ? "Cancel" : "Close"))), send)));
}

export function drawModal(container) {
  const view = world.state.modals.at(-1);
  const signature = view ? JSON.stringify([view.id, view.hash, view.errors, here.failures.get(view.id)]) : "";
  if (container.signature === signature) return;
  const focused = document.activeElement?.dataset?.actionId;
  const before = container.querySelector("section")?.dataset.viewId;
  const scroll = container.querySelector(".modal-body")?.scrollTop || 0;
  container.signature = signature;
  fill(container, ...(view ? [draw(view)] : []));
  if (!view) { for (const id of here.typed.keys()) if (id !== world.state.home?.id) here.typed.delete(id); return; }
  const bodyNode = container.querySelector(".modal-body");
  if (before === view.id) bodyNode.scrollTop = scroll;
  container.querySelector(".wrong")?.scrollIntoView({ block: "nearest" });
  const wanted = before === view.id && focused ? [...bodyNode.querySelectorAll("[data-action-id]")].find((each) => each.dataset.actionId === focused) : null;
  (wanted || bodyNode.querySelector("input, textarea, select, button") || container.querySelector("[data-testid=modal-submit], [data-testid=modal-close]"))?.focus();
}
