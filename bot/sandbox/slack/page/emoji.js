// Draws the emoji that alerts use, so that they look the same on a machine that has no emoji font.

import { area, disc, line, svg } from "./dom.js";

const dot = (colour) => [disc(12, 12, 9, colour)];
const square = (colour) => [{ shape: "rect", at: { x: 3, y: 3, width: 18, height: 18, rx: 3 }, fill: colour }];
const white = { stroke: "#fff", width: 2.6 };

const DRAWN = {
  red_circle: ["🔴", dot("#e5484d")],
  large_orange_circle: ["🟠", dot("#f08c2e")],
  large_yellow_circle: ["🟡", dot("#f2c230")],
  large_green_circle: ["🟢", dot("#30a46c")],
  large_blue_circle: ["🔵", dot("#3b82f6")],
  large_purple_circle: ["🟣", dot("#8e5bd6")],
  white_circle: ["⚪", [disc(12, 12, 9, "#c9ced6"), disc(12, 12, 7, "#f4f5f7")]],
  black_circle: ["⚫", dot("#3a3f47")],
  large_red_square: ["🟥", square("#e5484d")],
  large_green_square: ["🟩", square("#30a46c")],
  white_check_mark: ["✅", [...square("#30a46c"), line("M7.5 12.5l3 3 6-7", white)]],
  heavy_check_mark: ["✔", [line("M5 13l5 5 9-12", { stroke: "#30a46c", width: 3 })]],
  x: ["❌", [line("M6 6l12 12M18 6L6 18", { stroke: "#e5484d", width: 4 })]],
  no_entry: ["⛔", [...dot("#e5484d"), line("M7 12h10", { stroke: "#fff", width: 3.4 })]],
  no_entry_sign: ["🚫", [disc(12, 12, 9, "#e5484d"), disc(12, 12, 6, "#fff"), line("M7 7l10 10", { stroke: "#e5484d", width: 3 })]],
  warning: ["⚠", [area("M12 3L22.5 21h-21z", "#f2b824"), line("M12 9.5v5M12 17.6v.2", { stroke: "#3a2f00", width: 2.2 })]],
  rotating_light: ["🚨", [area("M6 17a6 7 0 0 1 12 0z", "#e5484d"), area("M4 18h16v3H4z", "#8a94a6"), line("M12 3v3M4 7l2 2M20 7l-2 2", { stroke: "#f08c2e", width: 2 })]],
  bell: ["🔔", [area("M12 3a6 6 0 0 0-6 6c0 5-2 6-2 8h16c0-2-2-3-2-8a6 6 0 0 0-6-6z", "#f2b824"), disc(12, 19.5, 2.2, "#c98c0d")]],
  no_bell: ["🔕", [area("M12 3a6 6 0 0 0-6 6c0 5-2 6-2 8h16c0-2-2-3-2-8a6 6 0 0 0-6-6z", "#c9ced6"), line("M4 4l16 17", { stroke: "#e5484d", width: 2.4 })]],
  hourglass_flowing_sand: ["⏳", [line("M6 3h12M6 21h12M7 3c0 5 5 6 5 9s-5 4-5 9M17 3c0 5-5 6-5 9s5 4 5 9", { stroke: "#b7791f" }), area("M9 20c1-3 2-3 3-4 1 1 2 1 3 4z", "#f2b824")]],
  hourglass: ["⌛", [line("M6 3h12M6 21h12M7 3c0 5 5 6 5 9s-5 4-5 9M17 3c0 5-5 6-5 9s5 4 5 9", { stroke: "#b7791f" })]],
  wrench: ["🔧", [line("M20 7a5 5 0 0 1-6.6 4.7L7 18.5a2 2 0 0 1-2.8-2.8l6.7-6.5A5 5 0 0 1 16.4 3l-2.6 2.9 1.4 2.6 2.9.4z", { stroke: "#64748b" })]],
  hammer_and_wrench: ["🛠", [line("M4 20l9-9M14 4l6 6-3 1-4-4zM20 20l-6-6", { stroke: "#64748b", width: 2.4 })]],
  gear: ["⚙", [disc(12, 12, 8, "#8a94a6"), disc(12, 12, 3.2, "#fff"), line("M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2", { stroke: "#8a94a6", width: 3 })]],
  mag: ["🔍", [line("M15.5 15.5L21 21", { stroke: "#64748b", width: 3 }), { shape: "circle", at: { cx: 10, cy: 10, r: 6.5 }, stroke: "#3b82f6" }]],
  mag_right: ["🔎", [line("M8.5 15.5L3 21", { stroke: "#64748b", width: 3 }), { shape: "circle", at: { cx: 14, cy: 10, r: 6.5 }, stroke: "#3b82f6" }]],
  mailbox_with_mail: ["📬", [area("M3 11a5 5 0 0 1 5-5h9a4 4 0 0 1 4 4v7H3z", "#8fb4e8"), line("M12 17v4M16 10V3h3v3h-3", { stroke: "#e5484d" })]],
  test_tube: ["🧪", [line("M9 3h6M10 3v8l-4 7a2 2 0 0 0 2 3h8a2 2 0 0 0 2-3l-4-7V3", { stroke: "#64748b" }), area("M8.5 16h7l1.5 3.500H7z", "#30a46c")]],
  scales: ["⚖", [line("M12 3v17M8 21h8M4 7h16M4 7l-2 7h5zM20 7l-3 7h5z", { stroke: "#b7791f" })]],
  turtle: ["🐢", [area("M4 16a7 6 0 0 1 14 0z", "#30a46c"), disc(20, 14, 2.4, "#7cc79d"), line("M7 16v3M15 16v3", { stroke: "#7cc79d", width: 2.4 })]],
  see_no_evil: ["🙈", [disc(12, 12, 9, "#b08968"), line("M5 11h6M13 11h6", { stroke: "#6b4f3a", width: 3.4 }), line("M9 17h6", { stroke: "#6b4f3a" })]],
  double_vertical_bar: ["⏸", [...square("#3b82f6"), line("M9.5 8v8M14.5 8v8", white)]],
  black_right_pointing_double_triangle: ["⏭", [...square("#3b82f6"), area("M6 8l5 4-5 4zM11 8l5 4-5 4z", "#fff"), line("M17.500 8v8", white)]],
  eyes: ["👀", [{ shape: "ellipse", at: { cx: 6.5, cy: 12, rx: 4.6, ry: 7, fill: "#fff", stroke: "#64748b", "stroke-width": 1.6 } }, { shape: "ellipse", at: { cx: 17.5, cy: 12, rx: 4.6, ry: 7, fill: "#fff", stroke: "#64748b", "stroke-width": 1.6 } }, disc(8, 13, 2.6, "#1d1c1d"), disc(19, 13, 2.6, "#1d1c1d")]],
  email: ["📧", [{ shape: "rect", at: { x: 3, y: 5, width: 18, height: 14, rx: 2 }, fill: "#e6edf7" }, line("M4 7l8 6 8-6", { stroke: "#3b82f6" })]],
  envelope: ["✉", [{ shape: "rect", at: { x: 3, y: 5, width: 18, height: 14, rx: 2 }, stroke: "#64748b" }, line("M4 7l8 6 8-6", { stroke: "#64748b" })]],
  incoming_envelope: ["📨", [{ shape: "rect", at: { x: 6, y: 5, width: 16, height: 14, rx: 2 }, fill: "#e6edf7" }, line("M7 7l7 6 7-6M1 9h3M1 13h3", { stroke: "#3b82f6" })]],
  inbox_tray: ["📥", [line("M3 13v6h18v-6h-5l-2 3h-4l-2-3zM12 3v8M8.5 8l3.5 3.5L15.5 8", { stroke: "#3b82f6" })]],
  information_source: ["ℹ", [...square("#3b82f6"), line("M12 11v6M12 7v.2", white)]],
  bulb: ["💡", [disc(12, 10, 6.5, "#f2c230"), area("M9 17h6v4H9z", "#8a94a6")]],
  clock3: ["🕒", [disc(12, 12, 9, "#8a94a6"), disc(12, 12, 7, "#fff"), line("M12 7v5h4", { stroke: "#3a3f47" })]],
  alarm_clock: ["⏰", [disc(12, 13, 8, "#e5484d"), disc(12, 13, 6, "#fff"), line("M12 9v4h3M4 5l3-2M20 5l-3-2", { stroke: "#3a3f47" })]],
  stopwatch: ["⏱", [disc(12, 14, 8, "#8a94a6"), disc(12, 14, 6, "#fff"), line("M12 10v4M10 2h4M12 2v3", { stroke: "#3a3f47" })]],
  arrows_counterclockwise: ["🔄", [...square("#3b82f6"), line("M8 9a5 5 0 0 1 8 0M16 6v3h-3M16 15a5 5 0 0 1-8 0M8 18v-3h3", { stroke: "#fff", width: 1.8 })]],
  repeat: ["🔁", [...square("#3b82f6"), line("M7 10h9l-2-2M17 14H8l2 2", { stroke: "#fff", width: 2 })]],
  leftwards_arrow_with_hook: ["↩", [line("M9 6L4 11l5 5M5 11h9a5 4 0 0 1 0 8h-2", { stroke: "#64748b", width: 2.4 })]],
  lock: ["🔒", [{ shape: "rect", at: { x: 5, y: 10, width: 14, height: 11, rx: 2 }, fill: "#f2b824" }, line("M8 10V7a4 4 0 0 1 8 0v3", { stroke: "#8a94a6" })]],
  scroll: ["📜", [area("M6 3h11v15a3 3 0 0 1-3 3H6z", "#f3e6c8"), line("M9 8h5M9 12h5M9 16h3", { stroke: "#a07c3a", width: 1.6 })]],
  memo: ["📝", [area("M5 3h11l4 4v14H5z", "#eef1f5"), line("M8 9h8M8 13h8M8 17h4", { stroke: "#64748b", width: 1.6 })]],
  link: ["🔗", [line("M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1.5 1.5M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6L12.500 17", { stroke: "#64748b" })]],
  shield: ["🛡", [area("M12 2l8 3v6c0 6-4 9-8 11-4-2-8-5-8-11V5z", "#3b82f6"), line("M8.5 12l2.5 2.500 4.500-5", white)]],
  chart_with_upwards_trend: ["📈", [{ shape: "rect", at: { x: 3, y: 3, width: 18, height: 18, rx: 2 }, fill: "#eef1f5" }, line("M6 16l4-4 3 2 5-7", { stroke: "#e5484d" })]],
  electric_plug: ["🔌", [line("M9 3v5M15 3v5M7 8h10v3a5 5 0 0 1-10 0zM12 16v5", { stroke: "#64748b", width: 2.2 })]],
  speech_balloon: ["💬", [area("M4 4h16a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-8l-5 4v-4H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z", "#dfe7f3")]],
  tada: ["🎉", [area("M3 21l5-13 8 8z", "#f2b824"), line("M14 7l2-4M18 10l4-1M16 14l4 2", { stroke: "#e5484d" })]],
  point_right: ["👉", [line("M4 12h14M13 6l6 6-6 6", { stroke: "#b7791f", width: 3 })]],
};

const ALIASES = {
  yellow_circle: "large_yellow_circle", green_circle: "large_green_circle", orange_circle: "large_orange_circle",
  blue_circle: "large_blue_circle", large_red_circle: "red_circle", ok: "white_check_mark", information: "information_source",
  email_envelope: "envelope", "e-mail": "email", clock1: "clock3", hourglass_done: "hourglass", loudspeaker: "bell", art: "memo",
};
const BY_CHARACTER = new Map(Object.entries(DRAWN).map(([name, [character]]) => [character, name]));
export const EMOJI = new RegExp(`:([a-z0-9_+'-]+):|(${[...BY_CHARACTER.keys()].join("|")})\\uFE0F?`, "gu");

// An element for a short name or a character; null when it is not one that we know.
export function emoji(name, character) {
  const known = ALIASES[name] || name || BY_CHARACTER.get(character);
  const entry = DRAWN[known];
  if (!entry) return null;
  const node = document.createElement("span");
  node.className = "emoji";
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", known.replaceAll("_", " "));
  node.title = `:${known}:`;
  node.append(svg(entry[1], { size: 18 }));
  return node;
}
