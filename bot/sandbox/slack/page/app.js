// Puts the page together and keeps it in step with the workspace.

import { blocks } from "./blocks.js";
import { composer } from "./composer.js";
import { fill, h, line, svg } from "./dom.js";
import { avatar, list } from "./messages.js";
import { mrkdwn } from "./mrkdwn.js";
import { actIn, drawModal } from "./modal.js";
import { changed, channel, here, listen, onChange, perform, refresh, world } from "./state.js";

const sidebar = document.getElementById("sidebar");
const main = document.getElementById("main");
const thread = document.getElementById("thread");
const overlay = document.getElementById("overlay");

// --- where we are ------------------------------------------------------------------------------------------------
function go(place) {
  location.hash = place;
}

function readHash() {
  const [place, ts] = decodeURIComponent(location.hash.slice(1)).split("/");
  const known = place === "home" || world.state.channels.some((each) => each.id === place);
  const first = world.state.channels.find((each) => !each.direct);
  here.place = known ? place : first?.id || "home";
  here.thread = known && ts ? ts : null;
  if (here.place === "home") perform({ do: "home" });
  changed();
}

// A permanent link: /archives/<channel>/p<ts without the dot>
function readPath() {
  const found = /^\/archives\/(\w+)\/p(\d+)(\d{6})$/.exec(location.pathname);
  if (!found) return;
  const parent = new URLSearchParams(location.search).get("thread_ts");
  here.focus = `${found[2]}.${found[3]}`;
  history.replaceState(null, "", `/?user=${here.user}#${found[1]}${parent ? `/${parent}` : ""}`);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (link && link.href.startsWith(`${location.origin}/archives/`)) {
    event.preventDefault();
    const address = new URL(link.href);
    address.searchParams.set("user", here.user);
    location.assign(address);
  }
  for (const menu of document.querySelectorAll(".menu")) if (!menu.parentElement.contains(event.target)) menu.hidden = true;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && here.thread && !world.state.modals.length) { here.thread = null; changed(); }
});

async function become(user) {
  here.user = user;
  here.thread = null;
  history.replaceState(null, "", `/?user=${user}${location.hash}`);
  await refresh();
  readHash();
  listen();
}

// --- sidebar -----------------------------------------------------------------------------------------------------
const visible = (each) => each.messages.filter((message) => !message.reply || message.subtype === "thread_broadcast");
const seenKey = (id) => `${here.user} ${id}`;

function row(place, icon, name, testid) {
  const held = world.state.channels.find((each) => each.id === place);
  const latest = held ? visible(held).at(-1)?.ts || "" : "";
  const active = here.place === place;
  if (active) here.seen.set(seenKey(place), latest);
  const unread = !active && latest > (here.seen.get(seenKey(place)) || "");
  return h("button", { class: `row${active ? " active" : ""}${unread ? " unread" : ""}`, type: "button", testid, "aria-current": active ? "page" : null, onclick: () => go(place) },
    h("span", { class: "row-icon" }, icon), h("span", { class: "row-name" }, name), unread && h("span", { class: "dot", "aria-label": "unread" }));
}

function drawSidebar() {
  const { channels, users, app, team } = world.state;
  const direct = channels.find((each) => each.direct);
  const people = users.filter((user) => !user.bot);
  const signature = JSON.stringify([here.place, here.user, users, channels.map((each) => [each.id, each.name, visible(each).at(-1)?.ts])]);
  if (sidebar.signature === signature) return;
  sidebar.signature = signature;
  fill(sidebar,
    h("div", { class: "team" }, h("span", { class: "team-icon" }, team[0]), h("span", {}, h("strong", {}, team), h("small", {}, "stand-in on this machine"))),
    h("div", { class: "section-title" }, "Channels"),
    channels.filter((each) => !each.direct).map((each) => row(each.id, each.archived ? "▣" : "#", each.name, `channel-${each.name}`)),
    h("div", { class: "section-title" }, "Apps"),
    row("home", svg([line("M4 11l8-7 8 7v9H4z")], { size: 15 }), `${app.name} · Home`, "app-home"),
    direct && row(direct.id, svg([line("M4 5h16v11h-8l-5 4v-4H4z")], { size: 15 }), `${app.name} · Messages`, "app-messages"),
    h("div", { class: "spring" }),
    h("div", { class: "section-title" }, "You are"),
    h("div", { class: "people", testid: "user-switch", role: "radiogroup", "aria-label": "You are" },
      people.map((user) => h("button", { class: `row person${user.id === here.user ? " active" : ""}`, type: "button", role: "radio", "aria-checked": String(user.id === here.user), testid: `user-${user.id}`, onclick: () => become(user.id) },
        avatar(user.id, "mini"), h("span", { class: "row-name" }, user.name), user.id === here.user && h("span", { class: "online" })))));
}

// --- main --------------------------------------------------------------------------------------------------------
function drawChannel() {
  const held = channel();
  const key = `${here.user} ${held.id} ${held.archived}`;
  if (main.dataset.key !== key) {
    main.dataset.key = key;
    fill(main,
      h("header", { class: "bar" }, h("h1", { testid: "channel-title" }, held.direct ? world.state.app.name : `# ${held.name}`), h("span", { class: "topic" }, held.direct ? "Messages of the app to you" : held.topic), !held.direct && h("span", { class: "members" }, `${held.members} members`)),
      h("div", { class: "messages", testid: "messages", role: "log", tabindex: "0" }),
      composer({ key, testid: "composer", disabled: held.archived, placeholder: held.archived ? "This channel is archived" : held.direct ? `Message ${world.state.app.name}` : `Message #${held.name}` }));
  }
  const box = main.querySelector(".messages");
  const first = !box.children.length;
  list(box, visible(held));
  let empty = main.querySelector(".empty");
  if (!visible(held).length && !empty) box.before((empty = h("div", { class: "empty" }, h("strong", {}, held.direct ? "Nothing yet" : `This is #${held.name}`), "Nothing has been posted here. Try ", h("code", {}, `${world.state.app.commands[0]?.command || "/help"} help`))));
  else if (visible(held).length) empty?.remove();
  if (first) box.scrollTop = box.scrollHeight;
  if (here.focus) { box.querySelector(".focus")?.scrollIntoView({ block: "center" }); setTimeout(() => { here.focus = null; }, 3000); }
}

function drawHome() {
  const view = world.state.home;
  const signature = JSON.stringify([here.user, view?.hash, view && here.failures.get(view.id)]);
  if (main.dataset.key === "home" && main.signature === signature) return;
  main.dataset.key = "home";
  main.signature = signature;
  const failure = view && here.failures.get(view.id);
  fill(main,
    h("header", { class: "bar" }, avatar(world.state.app.user, "small"), h("h1", { testid: "channel-title" }, world.state.app.name), h("span", { class: "topic" }, "Home")),
    h("div", { class: "home", testid: "home" }, failure && h("div", { class: "notice error", role: "alert", testid: "interaction-error" }, failure),
      view ? blocks(view.blocks, actIn(view), view.state.values) : h("div", { class: "empty" }, h("strong", {}, "Home"), "The app has not published anything here yet.")));
}

// --- thread ------------------------------------------------------------------------------------------------------
function drawThread() {
  const held = channel();
  const inIt = held?.messages.filter((message) => message.ts === here.thread || message.thread_ts === here.thread) || [];
  thread.hidden = !here.thread || !held;
  if (thread.hidden) { thread.dataset.key = ""; fill(thread); return; }
  const key = `${here.user} ${held.id} ${here.thread}`;
  if (thread.dataset.key !== key) {
    thread.dataset.key = key;
    fill(thread,
      h("header", { class: "bar" }, h("h2", {}, "Thread"), h("span", { class: "topic" }, held.direct ? "" : `#${held.name}`),
        h("button", { class: "icon-button", type: "button", "aria-label": "Close thread", testid: "thread-close", onclick: () => { here.thread = null; changed(); } }, svg([line("M6 6l12 12M18 6L6 18")], { size: 18 }))),
      h("div", { class: "messages", testid: "thread-messages", role: "log", tabindex: "0" }),
      composer({ key, testid: "thread-composer", thread: here.thread, placeholder: "Reply…", disabled: held.archived }));
  }
  list(thread.querySelector(".messages"), inIt, { inThread: true });
}

function drawHint() {
  const { hint } = world.state;
  const bar = main.querySelector(".hint-bar");
  if (bar && bar.signature === hint) return;
  bar?.remove();
  if (!hint) return;
  const fresh = h("div", { class: "hint-bar", role: "status", testid: "hint" }, h("strong", {}, "Try next"), h("span", {}, mrkdwn(hint)));
  fresh.signature = hint;
  main.append(fresh);
}

function draw() {
  drawSidebar();
  if (here.place === "home") drawHome();
  else drawChannel();
  drawHint();
  drawThread();
  drawModal(overlay);
  document.title = here.place === "home" ? `${world.state.app.name} · Home` : `#${channel()?.name} · Sandbox workspace`;
}

async function start() {
  await refresh();
  if (!world.state) { setTimeout(start, 1000); return; }
  here.user = world.state.me;
  readPath();
  for (const each of world.state.channels) if (each.id !== here.place) here.seen.set(seenKey(each.id), visible(each).at(-1)?.ts || "");
  onChange(draw);
  readHash();
  window.addEventListener("hashchange", readHash);
  listen();
  main.querySelector("[data-testid=composer]")?.focus();
}

start();
