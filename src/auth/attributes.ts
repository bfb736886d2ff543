/**
 * Attributes of a client, out of JSON that somebody else has written.
 */
/** Texts, numbers and truth values of an object; nothing else can be an attribute. */
export function attributesOf(json: unknown): Record<string, string> {
  const attributes: Record<string, string> = {};
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return attributes;
  for (const [name, value] of Object.entries(json))
    if (['string', 'number', 'boolean'].includes(typeof value)) attributes[name] = String(value);
  return attributes;
}
