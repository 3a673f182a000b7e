// Interactive elements: buttons, menus, selects, boxes and inputs. `act(element, block, value)` is what using one does.

import { h, line, svg } from "./dom.js";
import { plain } from "./mrkdwn.js";
import { textObject } from "./blocks.js";
import { world } from "./state.js";

const options = (element) => [...(element.options || []), ...(element.option_groups || []).flatMap((group) => group.options)];

// Asks "are you sure?" where the app wants it; resolves to whether to go on.
export function confirmed(confirm) {
  if (!confirm) return Promise.resolve(true);
  return new Promise((resolve) => {
    const before = document.activeElement;
    const done = (answer) => { backdrop.remove(); before?.focus?.(); resolve(answer); };
    const yes = h("button", { class: `button ${confirm.style === "danger" ? "danger solid" : "primary"}`, type: "button", testid: "confirm-yes", onclick: () => done(true) }, plain(confirm.confirm.text));
    const no = h("button", { class: "button", type: "button", testid: "confirm-no", onclick: () => done(false) }, plain(confirm.deny.text));
    const backdrop = h("div", { class: "backdrop above", onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); done(false); } } },
      h("div", { class: "dialog small", role: "alertdialog", "aria-modal": "true", testid: "confirm" },
        h("h2", {}, plain(confirm.title.text)), h("div", { class: "dialog-text" }, textObject(confirm.text)), h("div", { class: "dialog-buttons" }, no, yes)));
    document.body.append(backdrop);
    yes.focus();
  });
}

function button(element, block, act) {
  const node = h("button", {
    class: `button ${element.style || ""}`, type: "button", "data-action-id": element.action_id, "aria-label": element.accessibility_label,
    onclick: async () => {
      if (!(await confirmed(element.confirm))) return;
      if (element.url && /^https?:/.test(element.url)) window.open(element.url, "_blank", "noopener,noreferrer");
      node.classList.add("busy"); node.disabled = true;
      await act(element, block, null);
      node.classList.remove("busy"); node.disabled = false;
    },
  }, plain(element.text.text));
  return node;
}

function select(element, block, act, chosen) {
  const entry = (option) => h("option", { value: option.value, selected: option.value === chosen }, option.text.text);
  const groups = (element.option_groups || []).map((group) => h("optgroup", { label: group.label.text }, group.options.map(entry)));
  const prompt = h("option", { value: "", selected: !chosen }, element.placeholder?.text || "Choose an option");
  return h("select", {
    class: "select", "data-action-id": element.action_id, "aria-label": element.placeholder?.text || "Choose an option",
    onchange: async (event) => {
      const value = event.target.value;
      if (!value) return;
      if (await confirmed(element.confirm)) await act(element, block, value);
      else event.target.value = chosen || "";
    },
  }, prompt, groups, (element.options || []).map(entry));
}

function people(element, block, act, chosen) {
  const list = element.type === "users_select" ? world.state.users.map((user) => [user.id, user.name]) : world.state.channels.map((each) => [each.id, `#${each.name}`]);
  const shaped = list.map(([value, text]) => ({ value, text: { text } }));
  return select({ ...element, options: shaped }, block, act, chosen);
}

function boxes(element, block, act, chosen, kind) {
  const group = `${block.block_id}-${element.action_id}-${Math.random()}`;
  const node = h("div", { class: "boxes", role: "group", "data-action-id": element.action_id });
  const values = () => [...node.querySelectorAll("input:checked")].map((input) => input.value);
  const changed = () => act(element, block, kind === "radio" ? values()[0] : values());
  node.append(...element.options.map((option) =>
    h("label", { class: "box" },
      h("input", { type: kind, name: group, value: option.value, checked: chosen.includes(option.value), onchange: changed }),
      h("span", {}, textObject(option.text), option.description && h("small", {}, textObject(option.description))))));
  return node;
}

function overflow(element, block, act) {
  const menu = h("div", { class: "menu", role: "menu", hidden: true }, element.options.map((option) =>
    h("button", { class: "menu-item", type: "button", role: "menuitem", "data-value": option.value, onclick: async () => {
      menu.hidden = true;
      if (!(await confirmed(element.confirm))) return;
      if (option.url && /^https?:/.test(option.url)) window.open(option.url, "_blank", "noopener,noreferrer");
      await act(element, block, option.value);
    } }, textObject(option.text))));
  const opener = h("button", { class: "button overflow", type: "button", "aria-label": "More actions", "data-action-id": element.action_id,
    onclick: () => { menu.hidden = !menu.hidden; } }, svg([line("M6 12h.01M12 12h.01M18 12h.01", { width: 3 })]));
  return h("span", { class: "menu-holder" }, opener, menu);
}

function typed(element, block, act, value) {
  const kinds = { number_input: "number", email_text_input: "email", url_text_input: "url", datepicker: "date", timepicker: "time" };
  const multiline = element.type === "plain_text_input" && element.multiline;
  return h(multiline ? "textarea" : "input", {
    class: "field", type: multiline ? null : kinds[element.type] || "text", rows: multiline ? 4 : null, "data-action-id": element.action_id,
    placeholder: element.placeholder?.text, maxlength: element.max_length || 3000, autocomplete: "off", spellcheck: "false",
    step: element.type === "number_input" && element.is_decimal_allowed ? "any" : null,
    value: multiline ? null : value, oninput: (event) => act(element, block, event.target.value),
  }, multiline ? value : null);
}

// The element's value as it stands in state.values.
export function valueOf(state) {
  if (!state) return null;
  if ("selected_options" in state) return state.selected_options.map((option) => option.value);
  if ("selected_option" in state) return state.selected_option?.value ?? null;
  return Object.entries(state).find(([name]) => name !== "type")?.[1] ?? null;
}

export function draw(element, block, act, value = null) {
  const initial = value ?? element.initial_option?.value ?? element.initial_options?.map((option) => option.value) ?? element.initial_value ?? element.initial_date ?? element.initial_time ?? "";
  switch (element.type) {
    case "button": return button(element, block, act);
    case "overflow": return overflow(element, block, act);
    case "static_select": return select(element, block, act, initial);
    case "users_select": case "channels_select": case "conversations_select": return people(element, block, act, initial);
    case "checkboxes": return boxes(element, block, act, initial || [], "checkbox");
    case "radio_buttons": return boxes(element, block, act, [initial], "radio");
    case "multi_static_select": return boxes({ ...element, options: options(element) }, block, act, initial || [], "checkbox");
    default: return typed(element, block, act, initial);
  }
}
