// Small helpers for the page's elements. Text is always set as text, never as
// markup, so nothing that a user or a backend named can become part of a page.

/**
 * h makes an element: h("td.num", {title: "…"}, "text", child, …). A property
 * that begins with "on" is a listener, one that is null or false is left out,
 * and so are such children.
 */
export function h(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length > 0) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...present(children));
  return node;
}

/** fill replaces what is in a node. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
}

/** say sets a node's text, and leaves it alone if it is that already: a selection stays. */
export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** tell sets an attribute's value, or takes the attribute away for null. */
export function tell(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/**
 * rows keeps one child of parent for each item, by key and in the order of the
 * items. make returns {node, update}; update is called with the item each time.
 */
export function rows(parent, make) {
  const kept = new Map();
  return (items, key) => {
    const wanted = new Set(items.map(key));
    for (const [k, row] of kept) {
      if (!wanted.has(k)) {
        row.node.remove();
        kept.delete(k);
      }
    }
    items.forEach((item, i) => {
      let row = kept.get(key(item));
      if (!row) {
        row = make(item);
        kept.set(key(item), row);
      }
      row.update(item);
      if (parent.children[i] !== row.node) parent.insertBefore(row.node, parent.children[i] ?? null);
    });
  };
}

/** find returns the element with an id. The pages have all that are asked for. */
export function find(id) {
  return document.getElementById(id);
}

function present(children) {
  return children.flat().filter((c) => c !== null && c !== undefined && c !== false);
}
