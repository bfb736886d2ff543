/*
 * Payloads that say which message they are, and that show every byte that was changed, lost or mixed up: the message's name, a space, then bytes that follow
 * from the name.
 */
import { hash32 } from '../../src/base/hash.ts';

/** The payload of a message: `bytes` long, but at least its name and a space; nothing at all for 0 bytes. */
export function contentOf(id: string, bytes: number): Buffer {
  if (bytes === 0) return Buffer.alloc(0);
  const name = Buffer.from(`${id} `, 'latin1');
  const content = Buffer.alloc(Math.max(bytes, name.length));
  name.copy(content);
  const seed = hash32(name, 0, name.length);
  for (let at = name.length; at < content.length; at++) content[at] = (seed >>> (at & 15)) + at * 7;
  return content;
}

/** The name that a payload begins with. */
export function nameIn(payload: Uint8Array): string {
  const end = payload.indexOf(0x20);
  return Buffer.from(payload.subarray(0, end < 0 ? 60 : end)).toString('latin1');
}
