/**
 * Lists and attributes as people write them into an area: one in a line.
 */

export const PAIRS_HINT = 'One in a line, such as group: pumps';

/** `a: b` in lines. */
export function pairsText(pairs: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(pairs ?? {})
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
}

export function readPairs(text: string): Record<string, string> {
  return Object.fromEntries(readLines(text).map(pairOf));
}

/** Attributes with several values each: a line for each value. */
export function patternsText(patterns: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(patterns)
    .flatMap(([name, values]) => values.map((value) => `${name}: ${value}`))
    .join('\n');
}

export function readPatterns(text: string): Record<string, string[]> {
  const patterns = new Map<string, string[]>();
  for (const [name, value] of readLines(text).map(pairOf)) patterns.set(name, [...(patterns.get(name) ?? []), value]);
  return Object.fromEntries(patterns);
}

/** Lines without a colon name an attribute without a value, which the broker refuses with its reason. */
function pairOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  return colon < 0 ? [line, ''] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}

export function readLines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
}

/** Items behind commas or in lines. */
export function readItems(text: string): string[] {
  return readLines(text.replaceAll(',', '\n'));
}
