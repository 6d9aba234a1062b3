// The invariants that this node finds broken.

import { call, read } from "../api.js";
import { fill, find, h, say } from "../dom.js";
import { clock } from "../format.js";

/** checkView runs the node's own check at each call, and returns what is broken. */
export function checkView() {
  return async () => {
    const answer = await call("/debug/check");
    const { broken } = JSON.parse(await read(answer));
    say(find("check-note"), `checked at ${clock(Date.now()).slice(0, 8)}`);
    fill(find("check"), broken.length === 0
      ? h("p.fine", {}, "None is broken on this node.")
      : h("ul.broken", {}, ...broken.map((b) => h("li", {}, b))));
    return broken;
  };
}
