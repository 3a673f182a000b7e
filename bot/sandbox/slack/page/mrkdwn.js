// Slack's text formats as elements. What Slack would make live (mentions, links, dates) carries data-live, so that a
// test, or a pair of eyes, sees at once when foreign text has become markup.

import { h } from "./dom.js";
import { EMOJI, emoji } from "./emoji.js";
import { names } from "./state.js";

const unescape = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

export function plain(text) {
  return withEmoji(unescape(text));
}

function withEmoji(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(EMOJI)) {
    const drawn = emoji(found[1], found[2]);
    if (!drawn) continue;
    parts.push(text.slice(from, found.index), drawn);
    from = found.index + found[0].length;
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}

export function anchor(address, label, live = "link") {
  if (!/^(https?:|mailto:)/i.test(address)) return h("span", {}, label);
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer", "data-live": live }, label);
}

export const mention = (label, live = "mention") => h("span", { class: `mention ${live}`, "data-live": live }, label);

const FORMATS = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "2-digit", minute: "2-digit", hour12: false },
  time_secs: { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false },
};

function ago(moment) {
  const minutes = Math.round((Date.now() - moment) / 60000);
  const [count, unit] = Math.abs(minutes) < 60 ? [minutes, "minute"] : [Math.round(minutes / 60), "hour"];
  const words = `${Math.abs(count)} ${unit}${Math.abs(count) === 1 ? "" : "s"}`;
  return count >= 0 ? `${words} ago` : `in ${words}`;
}

function pretty(moment, format) {
  const days = Math.round((new Date(moment).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / 86400000);
  const word = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
  return word || new Intl.DateTimeFormat("en-GB", format).format(moment);
}

export function date(seconds, format, address, fallback) {
  const moment = Number(seconds) * 1000;
  if (!Number.isFinite(moment)) return document.createTextNode(fallback);
  const text = format.replace(/\{(\w+?)(_pretty)?\}/g, (all, name, nice) => {
    if (name === "ago") return ago(moment);
    if (!FORMATS[name]) return all;
    return nice ? pretty(moment, FORMATS[name]) : new Intl.DateTimeFormat("en-GB", FORMATS[name]).format(moment);
  });
  const node = h("time", { datetime: new Date(moment).toISOString(), title: new Date(moment).toUTCString(), "data-live": "date" }, text);
  return address ? anchor(address, node) : node;
}

// What stands between < and >.
function token(inside) {
  const [target, label] = [inside.split("|")[0], inside.includes("|") ? inside.slice(inside.indexOf("|") + 1) : ""];
  if (target.startsWith("@")) return mention(`@${names.user(target.slice(1))}`);
  if (target.startsWith("#")) return channelLink(target.slice(1), label);
  if (target.startsWith("!subteam^")) return mention(`@${names.group(target.split("^")[1])}`);
  if (target.startsWith("!date^")) {
    const [, seconds, format, address] = target.split("^");
    return date(seconds, format || "", address, unescape(label));
  }
  if (target.startsWith("!")) return mention(`@${target.slice(1).split("^")[0]}`, "broadcast");
  return anchor(unescape(target), unescape(label || target.replace(/^mailto:/, "")));
}

export function channelLink(id, label) {
  return h("a", { href: `#${id}`, class: "mention channel", "data-live": "channel" }, `#${names.channel(id) || label || id}`);
}

const INLINE = /(<(?:[@#!][^<>\n]*|(?:https?|mailto|tel|slack):[^<>\n]+)>)|`([^`\n]+)`|(^|[\s([{.,;:!?'"*_~—–-])([*_~])(?=\S)([^\n]*?\S)\4(?![\w])|(\bhttps?:\/\/[^\s<>|]+)/;
const STYLE = { "*": "strong", _: "em", "~": "s" };

function inline(text, bare = true) {
  const parts = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    const [all, bracketed, code, before, mark, styled, address] = found;
    parts.push(...plain(rest.slice(0, found.index)));
    if (bracketed) parts.push(token(bracketed.slice(1, -1)));
    else if (code !== undefined) parts.push(h("code", {}, unescape(code)));
    else if (mark) parts.push(...plain(before), h(STYLE[mark], {}, inline(styled, bare)));
    else parts.push(bare ? anchor(unescape(address), unescape(address), "bare-link") : unescape(address));
    rest = rest.slice(found.index + all.length);
  }
  return [...parts, ...plain(rest)];
}

// Lines: quotes are gathered, bullets get a hanging indent, the rest keeps its line breaks.
function lines(text, bare) {
  const out = [];
  let quote = null;
  text.split("\n").forEach((each, index, all) => {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(each);
    const bullet = /^(\s*)([•◦▪‣-]|\d{1,2}[.)])\s+(.*)$/.exec(each);
    if (quoted) {
      if (!quote) out.push((quote = h("blockquote", {})));
      quote.append(h("div", {}, inline(quoted[1], bare)));
      return;
    }
    quote = null;
    if (bullet) out.push(h("div", { class: "bullet" }, h("span", { class: "tick" }, bullet[2] === "-" ? "-" : bullet[2]), h("span", {}, inline(bullet[3], bare))));
    else if (each === "") { if (index < all.length - 1) out.push(h("div", { class: "gap" })); }
    else out.push(h("div", {}, inline(each, bare)));
  });
  return out;
}

export function mrkdwn(text, { verbatim = false } = {}) {
  return text.split(/```\n?([\s\S]*?)\n?```/).flatMap((part, index) =>
    index % 2 ? h("pre", {}, unescape(part)) : part.trim() === "" ? [] : lines(part.replace(/^\n|\n$/g, ""), !verbatim));
}

// The markdown block: the small part of Markdown that alerts use.
export function markdown(text) {
  return text.split("\n").map((each) => {
    const heading = /^#{1,6} (.*)$/.exec(each);
    const body = (heading ? heading[1] : each).replace(/\*\*(.+?)\*\*/g, "*$1*");
    return h("div", { class: heading ? "md-heading" : null }, inline(body.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c])));
  });
}
