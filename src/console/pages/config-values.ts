/**
 * Values of the configuration as a form holds them, and as the API takes them.
 */

import { readPairs } from '../pairs.ts';

/** A key as the API tells it. */
export interface ConfigKey {
  readonly key: string;
  /** As it is written. */
  readonly value: unknown;
  /** Whether `***` stands for something of it. */
  readonly isHidden: boolean;
  /** `default`, `file`, `api`, or the variable or option that it comes from. */
  readonly source: string;
  readonly isLive: boolean;
  readonly needsRestart: boolean;
  /** What a value may be, in words. */
  readonly type: string;
  readonly input: 'choice' | 'number' | 'pairs' | 'rate' | 'byte-rate' | 'text';
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
  /** Whether what is there stays, because nobody here has seen it. */
  readonly isKept: boolean;
}

/** `quotas.client` of `quotas.client.messagesIn`. */
export function sectionOf(key: string): string {
  return key.slice(0, key.lastIndexOf('.'));
}

export function isRate({ input }: ConfigKey): boolean {
  return input === 'rate' || input === 'byte-rate';
}

export function draftOf(key: ConfigKey): Draft {
  const { value, values, input, isHidden } = key;
  // Nothing is typed over what is hidden by chance, and `***` is never sent. Pairs come to those that are there.
  if (isHidden || input === 'pairs') return { text: '', burst: '', isLimit: false, isKept: input !== 'pairs' };
  const isLimit = isRate(key) && !values.includes(value as string);
  if (typeof value === 'object' && value !== null && isLimit) {
    const { perSecond = '', burst = '' } = value as { readonly perSecond?: unknown; readonly burst?: unknown };
    return { text: String(perSecond), burst: String(burst), isLimit, isKept: false };
  }
  return { text: String(value), burst: '', isLimit, isKept: false };
}

/** What the API takes; undefined where nothing is to change. */
export function writtenOf(key: ConfigKey, { text, burst, isLimit, isKept }: Draft): unknown {
  const { input, values } = key;
  if (isKept) return undefined;
  if (input === 'pairs') return text.trim() === '' ? undefined : readPairs(text);
  if (input === 'choice') return values.find((value) => String(value) === text);
  if (isLimit) return burst.trim() === '' ? amount(text) : { perSecond: amount(text), burst: amount(burst) };
  return input === 'number' ? amount(text) : text;
}

/** A number as a number; anything else as it is, such as 64KiB. */
function amount(text: string): number | string {
  return /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text.trim();
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
