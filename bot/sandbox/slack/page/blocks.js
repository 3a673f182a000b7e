// Blocks as elements. `act` is what using an interactive element does; `values` is a view's state.values.

import { h } from "./dom.js";
import { emoji } from "./emoji.js";
import { anchor, channelLink, date, markdown, mention, mrkdwn, plain } from "./mrkdwn.js";
import { draw, valueOf } from "./elements.js";
import { names } from "./state.js";

export function textObject(text) {
  return text.type === "mrkdwn" ? mrkdwn(text.text, { verbatim: text.verbatim }) : plain(text.text);
}

// Only pictures that come with the page are fetched; anything else shows its description.
function picture(element, className) {
  const address = element.image_url || "";
  if (address.startsWith("data:image/") || address.startsWith(`${location.origin}/`)) return h("img", { class: className, src: address, alt: element.alt_text });
  return h("span", { class: `${className} missing`, role: "img", "aria-label": element.alt_text, title: address || element.alt_text }, className === "tiny" ? "▣" : `🖼 ${element.alt_text}`);
}

// --- rich text -------------------------------------------------------------------------------------------------
const WRAP = { bold: "strong", italic: "em", strike: "s", code: "code", underline: "u" };

function leaf(part) {
  const style = part.style || {};
  const bare = () => {
    switch (part.type) {
      case "text": return part.text;
      case "link": return anchor(part.url, part.text || part.url);
      case "emoji": return emoji(part.name) || `:${part.name}:`;
      case "user": return mention(`@${names.user(part.user_id)}`);
      case "usergroup": return mention(`@${names.group(part.usergroup_id)}`);
      case "channel": return channelLink(part.channel_id, "");
      case "broadcast": return mention(`@${part.range}`, "broadcast");
      case "date": return date(part.timestamp, part.format, part.url, part.fallback || "");
      default: return part.value || "";
    }
  };
  return Object.keys(WRAP).filter((name) => style[name]).reduce((inner, name) => h(WRAP[name], {}, inner), bare());
}

function rich(elements) {
  return elements.map((part) => {
    switch (part.type) {
      case "rich_text_list": return h(part.style === "ordered" ? "ol" : "ul", { class: `indent-${part.indent || 0}`, start: part.offset ? part.offset + 1 : null }, part.elements.map((item) => h("li", {}, item.elements.map(leaf))));
      case "rich_text_preformatted": return h("pre", {}, part.elements.map(leaf));
      case "rich_text_quote": return h("blockquote", {}, part.elements.map(leaf));
      default: return h("div", { class: "rich-line" }, part.elements.map(leaf));
    }
  });
}

// --- tables and charts -----------------------------------------------------------------------------------------
function cell(tag, content, setting = {}) {
  const body = content.type === "rich_text" ? rich(content.elements) : content.text ?? String(content.value);
  return h(tag, { class: `${setting.align || "left"}${setting.is_wrapped ? " wrapped" : ""}` }, body);
}

function table(block) {
  const [header, ...rows] = block.rows;
  const setting = (column) => block.column_settings?.[column];
  const guess = (content, column) => setting(column) || (content.type === "raw_number" ? { align: "right" } : {});
  const row = (tag) => (cells) => h("tr", {}, cells.map((content, column) => cell(tag, content, guess(content, column))));
  return h("div", { class: "table-holder" }, block.caption && h("div", { class: "caption" }, block.caption),
    h("table", {}, h("thead", {}, row("th")(header)), h("tbody", {}, rows.map(row("td")))));
}

function chart(block) {
  const series = block.chart.series || [{ name: block.title, data: block.chart.segments }];
  const most = Math.max(1, ...series.flatMap((each) => each.data.map((point) => point.value)));
  const bar = (point) => h("div", { class: "chart-bar" }, h("span", { class: "bar-label" }, point.label), h("meter", { min: 0, max: most, value: point.value }), h("span", { class: "bar-value" }, String(point.value)));
  return h("div", { class: "chart" }, h("div", { class: "caption" }, block.title), series.map((each) => [series.length > 1 ? h("div", { class: "bar-series" }, each.name) : null, each.data.map(bar)]));
}

// --- blocks ----------------------------------------------------------------------------------------------------
function section(block, act) {
  return [
    h("div", { class: "section-text" }, block.text && textObject(block.text),
      block.fields && h("div", { class: "fields" }, block.fields.map((field) => h("div", { class: "field-cell" }, textObject(field))))),
    block.accessory && h("div", { class: "accessory" }, block.accessory.type === "image" ? picture(block.accessory, "thumb") : draw(block.accessory, block, act)),
  ];
}

function input(block, act, values, error) {
  const value = valueOf(values?.[block.block_id]?.[block.element.action_id]);
  const field = draw(block.element, block, act, value);
  const label = h("div", { class: "label" }, plain(block.label.text), block.optional && h("span", { class: "optional" }, " (optional)"));
  if (["INPUT", "TEXTAREA", "SELECT"].includes(field.tagName)) { field.id = `in-${block.block_id}`; field.setAttribute("aria-label", block.label.text); }
  return [label, field, error ? h("div", { class: "block-error", role: "alert", testid: "block-error" }, error) : null, block.hint && h("div", { class: "hint" }, plain(block.hint.text))];
}

function card(block, act) {
  return [
    block.title && h("div", { class: "card-title" }, textObject(block.title)), block.subtitle && h("div", { class: "hint" }, textObject(block.subtitle)),
    block.body && h("div", {}, textObject(block.body)), block.subtext && h("div", { class: "hint" }, textObject(block.subtext)),
    block.actions && h("div", { class: "buttons" }, block.actions.map((element) => draw(element, block, act))),
  ];
}

function inside(block, act, values, errors) {
  switch (block.type) {
    case "header": return h("h3", {}, plain(block.text.text));
    case "section": return section(block, act);
    case "context": return block.elements.map((part) => (part.type === "image" ? picture(part, "tiny") : h("span", { class: "context-part" }, textObject(part))));
    case "actions": return h("div", { class: "buttons" }, block.elements.map((element) => draw(element, block, act, valueOf(values?.[block.block_id]?.[element.action_id]))));
    case "divider": return h("hr", {});
    case "image": return [block.title && h("div", { class: "hint" }, plain(block.title.text)), picture(block, "picture")];
    case "input": return input(block, act, values, errors?.[block.block_id]);
    case "rich_text": return rich(block.elements);
    case "table": case "data_table": return table(block);
    case "data_visualization": return chart(block);
    case "markdown": return markdown(block.text);
    case "alert": return h("div", { class: `notice ${block.level || "default"}`, role: "note" }, textObject(block.text));
    case "card": return card(block, act);
    case "carousel": return block.elements.map((each) => h("div", { class: "block card" }, card(each, act)));
    case "container": return h("details", { open: !block.default_collapsed }, h("summary", {}, plain(block.title.text)), blocks(block.child_blocks, act));
    case "video": return anchor(block.title_url || block.video_url, `▶ ${block.title.text}`);
    default: return h("em", {}, `(${block.type})`);
  }
}

export function blocks(list, act, values = null, errors = null) {
  return list.map((block) => h("div", { class: `block ${block.type}${errors?.[block.block_id] ? " wrong" : ""}`, "data-block-id": block.block_id }, inside(block, act, values, errors)));
}
