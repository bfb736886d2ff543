/**
 * Attributes of a client, out of JSON that somebody else has written.
 */
import { ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX } from '../access/attribute-bytes.ts';

/** Names that only a certificate gives. */
const OF_CERTIFICATES = 'Certificate.';

/** Texts, numbers and truth values of an object; nothing else can be an attribute, and nothing that only a certificate can say. */
export function attributesOf(json: unknown): Record<string, string> {
  const attributes: Record<string, string> = {};
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return attributes;
  for (const [name, value] of Object.entries(json))
    if (['string', 'number', 'boolean'].includes(typeof value) && !name.startsWith(OF_CERTIFICATES)) attributes[name] = String(value);
  return attributes;
}

/** Why the broker cannot keep these attributes, as it must for as long as the session lives; null: it can. */
export function attributesProblem(attributes: Readonly<Record<string, string>>): string | null {
  const entries = Object.entries(attributes);
  if (entries.length > ATTRIBUTES_MAX) return `more than ${ATTRIBUTES_MAX} attributes`;
  const bytes = entries.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  return bytes > ATTRIBUTES_BYTES_MAX ? `attributes of more than ${ATTRIBUTES_BYTES_MAX} bytes` : null;
}
