// A face for a user: the first letter of the name, on a colour of its own.

import { h } from "../dom.js";

/** face shows a user; the same one always looks the same. */
export function face(user, nickname) {
  const node = h("span.face", { "aria-hidden": "true" }, [...(nickname || String(user))][0].toUpperCase());
  node.style.setProperty("--hue", (user * 47) % 360);
  return node;
}
