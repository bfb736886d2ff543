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

/** What of the lines would get lost if they were read as pairs; '' for nothing. */
export function pairsFault(text: string): string {
  const names = new Set<string>();
  for (const line of readLines(text)) {
    const [name] = pairOf(line);
    if (!line.includes(':')) return `“${line}” has no colon: write name: value.`;
    if (names.has(name)) return `“${name}” stands in two lines, and an attribute has one value.`;
    names.add(name);
  }
  return '';
}

/** The same, and what of those that were there before would get lost. */
export function attributesFault(text: string, before: Readonly<Record<string, string>> = {}): string {
  if (text === pairsText(before)) return '';
  const lost = Object.entries(before).filter(([name, value]) => readPairs(`${name}: ${value}`)[name] !== value);
  if (lost.length === 0) return pairsFault(text);
  return `Lines cannot hold ${lost.map(([name]) => `“${name}”`).join(', ')} as it is, so attributes are changed by the API or the command line here.`;
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

/** A line without a colon names an attribute without a value. */
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
