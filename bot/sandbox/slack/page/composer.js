// The box in which a person types: text, or a slash command with suggestions.

import { fill, h, line, svg } from "./dom.js";
import { changed, here, perform, world } from "./state.js";

const fit = (box) => { box.style.height = "auto"; box.style.height = `${Math.min(box.scrollHeight, 180)}px`; };

function matches(text) {
  if (!text.startsWith("/") || text.includes("\n")) return [];
  const word = text.split(" ")[0];
  return world.state.app.commands.filter((entry) => (text.includes(" ") ? entry.command === word : entry.command.startsWith(word)));
}

function suggestion(entry, text, take) {
  const [hint, ...words] = [entry.usage_hint, ...entry.usage_hint.split("|").map((each) => each.trim()).filter(Boolean)];
  const typed = text.includes(" ") ? text.slice(text.indexOf(" ") + 1).trimStart() : "";
  const fitting = text.includes(" ") ? words.filter((word) => word.startsWith(typed.split(" ")[0]) && !typed.includes(" ")) : [];
  return [
    h("button", { class: "suggestion", type: "button", testid: "suggestion", onmousedown: (event) => { event.preventDefault(); take(`${entry.command} `); } },
      h("span", { class: "suggestion-name" }, entry.command), h("span", { class: "suggestion-hint" }, hint), h("span", { class: "suggestion-text" }, entry.description)),
    fitting.map((word) => h("button", { class: "suggestion word", type: "button", testid: "suggestion", onmousedown: (event) => { event.preventDefault(); take(`${entry.command} ${word.split(" ")[0]} `); } },
      h("span", { class: "suggestion-name" }, `${entry.command} ${word}`))),
  ];
}

export function composer({ key, placeholder, testid, thread = null, disabled = false }) {
  const popup = h("div", { class: "suggestions", testid: "suggestions", role: "listbox", hidden: true });
  const problem = h("div", { class: "composer-error", role: "alert", hidden: true });
  let back = 0;
  const put = (text) => { box.value = text; typed(); box.focus(); };
  const typed = () => {
    here.drafts.set(key, box.value);
    fit(box);
    const found = matches(box.value);
    popup.hidden = !found.length;
    fill(popup, ...(found.length ? [h("div", { class: "suggestions-title" }, `Commands of ${world.state.app.name}`), ...found.flatMap((entry) => suggestion(entry, box.value, put)).flat()] : []));
    send.classList.toggle("ready", box.value.trim() !== "");
  };
  const push = async () => {
    const text = box.value.trim();
    if (!text) return;
    here.sent.push(text);
    back = 0;
    put("");
    const outcome = await perform({ do: "say", channel: here.place, text, thread });
    problem.hidden = !outcome.error || text.startsWith("/");
    problem.textContent = problem.hidden ? "" : outcome.error;
    changed();
  };
  const recall = (step) => {
    back = Math.max(0, Math.min(here.sent.length, back + step));
    put(back ? here.sent[here.sent.length - back] : "");
  };
  const keydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); popup.hidden = true; push(); }
    else if (event.key === "Tab" && !popup.hidden && !box.value.includes(" ")) { event.preventDefault(); put(`${matches(box.value)[0].command} `); }
    else if (event.key === "Escape" && !popup.hidden) { event.stopPropagation(); popup.hidden = true; }
    else if (event.key === "ArrowUp" && (box.value === "" || back)) { event.preventDefault(); recall(1); }
    else if (event.key === "ArrowDown" && back) { event.preventDefault(); recall(-1); }
  };
  const box = h("textarea", { class: "composer-box", rows: 1, placeholder, "aria-label": placeholder, testid, disabled, spellcheck: "false", oninput: typed, onkeydown: keydown, onblur: () => { popup.hidden = true; }, onfocus: () => { if (box.value) typed(); } });
  const send = h("button", { class: "send", type: "button", "aria-label": "Send", testid: thread ? "thread-send" : "send", disabled, onclick: push }, svg([line("M4 12L20 4l-5 16-3.500-6.500z")], { size: 18 }));
  box.value = here.drafts.get(key) || "";
  queueMicrotask(() => fit(box));
  return h("div", { class: "composer" }, popup, problem, h("div", { class: "composer-frame" }, box, h("div", { class: "composer-row" }, h("span", { class: "composer-help" }, thread ? "" : "Enter sends · type / for commands"), send)));
}
