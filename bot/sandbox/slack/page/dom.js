// Builds elements. Text goes in as text nodes only: nothing that a message holds is ever parsed as HTML.

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "testid") node.dataset.testid = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...present(children));
  return node;
}

const present = (children) => children.flat(3).filter((child) => child !== null && child !== undefined && child !== false);

// Replaces what an element holds.
export const fill = (node, ...children) => node.replaceChildren(...present(children));

export function svg(paths, { size = 16, colour = "currentColor", className = "icon" } = {}) {
  const space = "http://www.w3.org/2000/svg";
  const node = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" }))
    node.setAttribute(name, value);
  node.setAttribute("class", className);
  for (const path of paths) {
    const shape = document.createElementNS(space, path.shape || "path");
    const look = path.fill
      ? { fill: path.fill === true ? colour : path.fill }
      : { fill: "none", stroke: path.stroke || colour, "stroke-width": path.width || 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
    for (const [name, value] of Object.entries({ ...look, ...path.at })) shape.setAttribute(name, value);
    node.append(shape);
  }
  return node;
}

export const line = (d, more = {}) => ({ at: { d }, ...more });
export const area = (d, fill = true) => ({ at: { d }, fill });
export const disc = (cx, cy, r, fill) => ({ shape: "circle", at: { cx, cy, r }, fill });

// Keeps a container's children in step with items: a child is drawn anew only when its signature changed.
export function keep(container, items, draw) {
  const old = new Map([...container.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map(({ key, signature, item }) => {
    const existing = old.get(key);
    if (existing && existing.signature === signature) return existing;
    const fresh = draw(item);
    fresh.dataset.key = key;
    fresh.signature = signature;
    return fresh;
  });
  wanted.forEach((child, index) => {
    if (container.children[index] !== child) container.insertBefore(child, container.children[index] || null);
  });
  while (container.children.length > wanted.length) container.lastElementChild.remove();
}
