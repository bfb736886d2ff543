/**
 * AttributeBytes: what is known of a client, laid out as bytes, so that a session can keep it, the journal can hold it, and a question of another shard can be
 * answered without making a string.
 *
 *   | name length 16 | value length 16 | name | value | …
 *
 * Hot path.
 */
import { equalBytes, readText, utf8Bytes } from '../base/bytes.ts';

export type AttributeBytes = Uint8Array;

/** Attributes of one client: sessions keep them. */
export const ATTRIBUTES_MAX = 64;
/** Their names and values, in UTF-8. */
export const ATTRIBUTES_BYTES_MAX = 4096;

const HEAD_BYTES = 4;

/** Null where there are none. @param attributes within the bounds of `ATTRIBUTES_BYTES_MAX` */
export function packAttributes(attributes: Readonly<Record<string, string>>): AttributeBytes | null {
  const parts: Uint8Array[] = [];
  for (const name in attributes) {
    const key = utf8Bytes(name);
    const value = utf8Bytes(attributes[name]!);
    const head = new Uint8Array(HEAD_BYTES);
    head[0] = key.length >>> 8;
    head[1] = key.length & 0xff;
    head[2] = value.length >>> 8;
    head[3] = value.length & 0xff;
    parts.push(head, key, value);
  }
  return parts.length === 0 ? null : joined(parts);
}

/** The same as an object, for people and for the journal. */
export function unpackAttributes(bytes: AttributeBytes): Record<string, string> {
  const attributes: Record<string, string> = {};
  let at = 0;
  while (at + HEAD_BYTES <= bytes.length) {
    const keyAt = at + HEAD_BYTES;
    const valueAt = keyAt + ((bytes[at]! << 8) | bytes[at + 1]!);
    at = valueAt + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    attributes[readText(bytes, keyAt, valueAt)] = readText(bytes, valueAt, at);
  }
  return attributes;
}

/** All parts, one behind the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (let i = 0; i < parts.length; i++) length += parts[i]!.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    all.set(parts[i]!, at);
    at += parts[i]!.length;
  }
  return all;
}

/** A value in AttributeBytes; filled anew by each `findAttribute`. */
export class AttributeRange {
  at = 0;
  end = 0;
}

/** Finds the attribute `name[nameAt, nameEnd)`. @returns whether there is one; then `range` is its value */
export function findAttribute(
  attributes: AttributeBytes,
  name: Uint8Array,
  nameAt: number,
  nameEnd: number,
  range: AttributeRange,
): boolean {
  let at = 0;
  while (at + HEAD_BYTES <= attributes.length) {
    const keyAt = at + HEAD_BYTES;
    const valueAt = keyAt + ((attributes[at]! << 8) | attributes[at + 1]!);
    const valueEnd = valueAt + ((attributes[at + 2]! << 8) | attributes[at + 3]!);
    if (equalBytes(attributes, keyAt, valueAt, name, nameAt, nameEnd)) {
      range.at = valueAt;
      range.end = valueEnd;
      return true;
    }
    at = valueEnd;
  }
  return false;
}
