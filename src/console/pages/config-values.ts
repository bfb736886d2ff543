/**
 * Values of the configuration as a form holds them, and as the API takes them.
 */

/** A key as the API tells it. */
export interface ConfigKey {
  readonly key: string;
  /** As it is written. */
  readonly value: unknown;
  /** `default`, `file`, `api`, or the variable or option that it comes from. */
  readonly source: string;
  readonly isLive: boolean;
  readonly needsRestart: boolean;
  /** What a value may be, in words. */
  readonly type: string;
  readonly input: 'choice' | 'number' | 'rate' | 'byte-rate' | 'text';
  readonly values: readonly (string | number | boolean)[];
  readonly default: string;
  readonly text: string;
}

/** A value in the fields of a form. */
export interface Draft {
  /** A word, a number or a text; where there is a limit in a second, that. */
  readonly text: string;
  /** Of a rate: '' where it is as much as comes in a second. */
  readonly burst: string;
  /** Whether it is a limit, and not a word such as `off`. */
  readonly isLimit: boolean;
}

/** `quotas.client` of `quotas.client.messagesIn`. */
export function sectionOf(key: string): string {
  return key.slice(0, key.lastIndexOf('.'));
}

export function isRate({ input }: ConfigKey): boolean {
  return input === 'rate' || input === 'byte-rate';
}

export function draftOf(key: ConfigKey): Draft {
  const { value, values } = key;
  const isLimit = isRate(key) && !values.includes(value as string);
  if (typeof value === 'object' && value !== null && isLimit) {
    const { perSecond = '', burst = '' } = value as { readonly perSecond?: unknown; readonly burst?: unknown };
    return { text: String(perSecond), burst: String(burst), isLimit };
  }
  return { text: String(value), burst: '', isLimit };
}

/** What the API takes. */
export function writtenOf(key: ConfigKey, { text, burst, isLimit }: Draft): unknown {
  const { input, values } = key;
  if (input === 'choice') return values.find((value) => String(value) === text);
  if (isLimit) return burst.trim() === '' ? amount(text) : { perSecond: amount(text), burst: amount(burst) };
  return input === 'number' ? amount(text) : text;
}

/** Digits as a number; anything else as it is, such as 64KiB. */
function amount(text: string): number | string {
  return /^\d+$/.test(text.trim()) ? Number(text) : text.trim();
}

/** `{ quotas: { client: { messagesIn: 5 } } }`. */
export function treeOf(values: readonly (readonly [key: string, value: unknown])[]): object {
  const tree: Record<string, unknown> = {};
  for (const [key, value] of values) {
    const names = key.split('.');
    const last = names.pop()!;
    let branch = tree;
    for (const name of names) {
      branch[name] ??= {};
      branch = branch[name] as Record<string, unknown>;
    }
    branch[last] = value;
  }
  return tree;
}
