// The signature of a client's frame; docs/protocol.md has the rules.

/**
 * canonical returns the text that is signed: the frame without its sign, its
 * top-level fields in the order of their names, as PHP writes JSON. The names
 * of this page's frames are ASCII, whose order is the same by bytes and by
 * UTF-16.
 */
export function canonical(frame) {
  const names = Object.keys(frame).filter((n) => n !== "sign").sort();
  return JSON.stringify(Object.fromEntries(names.map((n) => [n, frame[n]]))).replaceAll("/", "\\/");
}

/** hmac signs a frame with the sign_key of its connection's create_token. */
export async function hmac(frame, key) {
  const bytes = (text) => new TextEncoder().encode(text);
  const secret = await crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", secret, bytes(canonical(frame)));
  return Array.from(new Uint8Array(signature), (b) => b.toString(16).padStart(2, "0")).join("");
}
