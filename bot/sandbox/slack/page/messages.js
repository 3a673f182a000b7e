// The messages of a channel or thread.

import { blocks } from "./blocks.js";
import { h, line, svg, keep } from "./dom.js";
import { mrkdwn } from "./mrkdwn.js";
import { changed, here, names, perform, world } from "./state.js";

const COLOURS = { good: "#2eb886", warning: "#daa038", danger: "#a30200" };
const clock = (ts) => new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" }).format(Number(ts) * 1000);
const day = (ts) => new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" }).format(Number(ts) * 1000);

export function avatar(user, size = "") {
  const person = world.state.users.find((each) => each.id === user);
  if (person?.bot) return h("span", { class: `avatar app ${size}` }, svg([{ shape: "rect", at: { x: 4, y: 6, width: 16, height: 12, rx: 1.8 } }, line("M4.500 7.500l7.500 6 7.500-6")], { size: size ? 13 : 22 }));
  const name = person?.name || user;
  const tint = world.state.users.findIndex((each) => each.id === user) % 4;
  return h("span", { class: `avatar tint-${tint} ${size}` }, name.split(" ").map((word) => word[0]).join("").slice(0, 2));
}

async function act(message, element, block, value) {
  if (!element.action_id || ["plain_text_input"].includes(element.type)) return;
  here.failures.delete(message.ts);
  const outcome = await perform({ do: "act", channel: message.channel, ts: message.ts, action: element.action_id, block: block.block_id, value });
  if (outcome.error) here.failures.set(message.ts, outcome.error);
  changed();
}

function body(message) {
  const use = (element, block, value) => act(message, element, block, value);
  const text = message.blocks ? blocks(message.blocks, use) : message.text ? h("div", { class: "block text" }, mrkdwn(message.text)) : [];
  const attachments = (message.attachments || []).map((each) => {
    const bar = h("div", { class: "attachment" }, each.pretext && h("div", {}, mrkdwn(each.pretext)), each.title && h("strong", {}, each.title),
      each.text && h("div", { class: "block text" }, mrkdwn(each.text)), blocks(each.blocks || [], use), !each.blocks && !each.text && each.fallback);
    const colour = COLOURS[each.color] || (/^#?[0-9a-f]{3,6}$/i.test(each.color || "") ? `#${each.color.replace("#", "")}` : "#d5d9df");
    bar.style.borderLeftColor = colour;
    return bar;
  });
  return [text, attachments];
}

function replies(message) {
  if (!message.reply_count) return null;
  const word = message.reply_count === 1 ? "reply" : "replies";
  return h("button", { class: "replies", type: "button", testid: "open-thread", onclick: () => openThread(message.thread_ts) },
    message.reply_users.slice(0, 3).map((user) => avatar(user, "mini")), h("span", { class: "replies-count" }, `${message.reply_count} ${word}`),
    h("span", { class: "replies-last" }, `Last reply ${clock(message.latest_reply)}`));
}

export function openThread(ts) {
  here.thread = ts;
  changed();
  document.querySelector("[data-testid=thread-composer]")?.focus();
}

async function shortcut(message, entry) {
  here.failures.delete(message.ts);
  const outcome = await perform({ do: "shortcut", callback: entry.callback_id, channel: message.channel, ts: message.ts });
  if (outcome.error) here.failures.set(message.ts, outcome.error);
  changed();
}

function tools(message, inThread) {
  const entries = world.state.app.shortcuts.filter((entry) => entry.kind === "message");
  if (message.private || message.failed) return null;
  return h("div", { class: "tools" },
    !inThread && h("button", { class: "tool", type: "button", title: "Reply in thread", "aria-label": "Reply in thread", testid: "reply-in-thread", onclick: () => openThread(message.thread_ts || message.ts) },
      svg([line("M4 5h16v11h-8l-5 4v-4H4z")])),
    entries.map((entry) => h("button", { class: "tool words", type: "button", "data-callback-id": entry.callback_id, onclick: () => shortcut(message, entry) }, entry.name)));
}

function note(message) {
  if (message.failed) return null;
  if (message.private) return h("div", { class: "note-line" }, svg([line("M2 12c3-5 6-7 10-7s7 2 10 7c-3 5-6 7-10 7s-7-2-10-7z"), { shape: "circle", at: { cx: 12, cy: 12, r: 3 } }], { size: 14 }), "Only visible to you");
  if (message.subtype === "thread_broadcast" && !message.inThread) return h("div", { class: "note-line" }, "replied to a thread: ", h("button", { class: "linklike", type: "button", onclick: () => openThread(message.thread_ts) }, "view it"));
  return null;
}

function drawMessage(message) {
  const bot = world.state.users.find((user) => user.id === message.user)?.bot;
  const failure = here.failures.get(message.ts);
  const who = message.failed ? "Workspace" : names.user(message.user);
  return h("article", {
    class: `message${message.private ? " private" : ""}${message.failed ? " failed" : ""}${here.focus === message.ts ? " focus" : ""}`,
    testid: "message", "data-ts": message.ts, "data-private": message.private ? "yes" : "no",
  },
  message.failed ? h("span", { class: "avatar workspace" }, "!") : avatar(message.user),
  h("div", { class: "content" }, note(message),
    h("div", { class: "byline" }, h("span", { class: "author" }, who), bot && h("span", { class: "badge" }, "APP"),
      h("time", { class: "when", title: new Date(Number(message.ts) * 1000).toUTCString() }, clock(message.ts))),
    body(message),
    message.edited && h("span", { class: "edited", testid: "edited" }, "(edited)"),
    (message.reactions || []).map((each) => h("span", { class: "reaction" }, `:${each.name}: ${each.count}`)),
    failure && h("div", { class: "interaction-error", role: "alert", testid: "interaction-error" }, svg([line("M12 3L22 21H2z"), line("M12 10v4M12 17.500v.100")], { size: 15 }), `The app did not respond: ${failure}`),
    !message.inThread && replies(message)),
  tools(message, message.inThread));
}

export function list(container, messages, { inThread = false } = {}) {
  const near = container.scrollHeight - container.scrollTop - container.clientHeight < 80;
  const items = [];
  let date = "";
  for (const message of messages) {
    if (!inThread && day(message.ts) !== date) {
      date = day(message.ts);
      items.push({ key: `day-${date}`, signature: date, item: { divider: date } });
    }
    const item = { ...message, channel: here.place, inThread };
    const signature = JSON.stringify([item, here.failures.get(message.ts), here.focus === message.ts, here.user]);
    items.push({ key: message.ts, signature, item });
  }
  keep(container, items, (item) => (item.divider ? h("div", { class: "day" }, h("span", {}, item.divider)) : drawMessage(item)));
  if (near) container.scrollTop = container.scrollHeight;
}
