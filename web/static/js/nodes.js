// Every node has one colour, the same wherever it is named.

import { h } from "./dom.js";

const hues = [168, 262, 40, 330, 210, 100, 20, 290, 190, 70];
const known = [];

/** learn gives colours to nodes not seen before, in the order of their names. */
export function learn(names) {
  for (const name of [...names].sort()) {
    if (!known.includes(name)) known.push(name);
  }
}

/** hue returns a node's place on the colour wheel. */
export function hue(name) {
  learn([name]);
  return hues[known.indexOf(name) % hues.length];
}

/** paint lets a node's element take its colour. */
export function paint(element, name) {
  element.style.setProperty("--hue", hue(name));
  return element;
}

/** chip shows a node's name with its colour. */
export function chip(name) {
  return paint(h("span.node", {}, name), name);
}
