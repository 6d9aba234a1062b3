// Server-sent events by fetch: unlike EventSource it can carry a key, and see
// the comment with which the node says that events are missing.

import { call } from "./api.js";

const firstPause = 500;
const longestPause = 8000;

/**
 * listen reads a stream for as long as the page lives, and connects again when
 * it ends. on has event(object), state("live" or "away"), and missed() for a
 * stream that was cut and has begun again.
 */
export async function listen(path, on) {
  let pause = firstPause;
  let cut = false;
  for (;;) {
    try {
      const answer = await call(path, { signal: new AbortController().signal });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      on.state("live");
      if (cut) on.missed();
      cut = true;
      pause = firstPause;
      await follow(answer.body, on);
    } catch {
      // Whatever it was, the next connection tells; the state says so meanwhile.
    }
    on.state("away");
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
    pause = Math.min(pause * 2, longestPause);
  }
}

/** follow hands on what a stream says until it ends. */
async function follow(body, on) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((l) => l.startsWith("data: "));
      if (data) on.event(JSON.parse(data.slice(6)));
    }
  }
}
