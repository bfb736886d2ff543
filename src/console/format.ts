/**
 * Numbers, times and bytes as people read them.
 */

const NUMBER = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const TIME = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const DAY_AND_MINUTE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** Shown where there is no value. */
export const NONE = '–';

export function count(value: number | null | undefined): string {
  return value === null || value === undefined || Number.isNaN(value) ? NONE : NUMBER.format(value);
}

/** 12.3K, for what changes all the time. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return Math.abs(value) < 10 ? String(Math.round(value * 10) / 10) : SHORT.format(value);
}

export function time(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === '') return NONE;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? String(value) : TIME.format(date);
}

/** The same, without what goes without saying: the day where it is today, else the seconds. */
export function briefTime(value: string | number | null | undefined): string {
  if (value === null || value === undefined || value === '') return NONE;
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return String(value);
  return date.toDateString() === new Date().toDateString() ? CLOCK.format(date) : DAY_AND_MINUTE.format(date);
}

/** The zone of all times of the console: Europe/Berlin (GMT+1). */
export function zone(): string {
  const name = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts().find(({ type }) => type === 'timeZoneName');
  const { timeZone } = TIME.resolvedOptions();
  return name === undefined || name.value === timeZone ? timeZone : `${timeZone} (${name.value})`;
}

/** A name in a sentence: letters that run from the right, and marks that turn others around, stay in it. */
export function isolated(name: string): string {
  return /[^\x20-\x7e]/.test(name) ? `\u2068${name.replace(/[\u202a-\u202e\u2066-\u2069]/g, '\ufffd')}\u2069` : name;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${unit === 0 ? rest : rest.toFixed(1)} ${units[unit]}`;
}

/** 3 d 4 h. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return NONE;
  const parts: string[] = [];
  let rest = Math.floor(seconds);
  for (const [name, length] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole > 0) parts.push(`${whole} ${name}`);
  }
  return parts.length === 0 ? '0 s' : parts.slice(0, 2).join(' ');
}

export function yesNo(value: boolean | null | undefined): string {
  return value === undefined || value === null ? NONE : value ? 'yes' : 'no';
}

export interface Payload {
  /** UTF-8, or else bytes in hexadecimal. */
  readonly text: string;
  readonly isBytes: boolean;
}

export function payload(base64: string | null | undefined): Payload {
  if (base64 === undefined || base64 === null) return { text: '', isBytes: false };
  const data = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  try {
    const whole = new TextDecoder('utf-8', { fatal: true }).decode(data);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what makes bytes no text.
    if (!/[\u0000-\u0008\u000e-\u001f]/.test(whole)) return { text: whole, isBytes: false };
  } catch {
    // Bytes, then.
  }
  return { text: [...data].map((byte) => byte.toString(16).padStart(2, '0')).join(' '), isBytes: true };
}

function isPairs(value: unknown): value is readonly (readonly [string, string])[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => Array.isArray(one) && one.length === 2);
}

/** Any value of a record whose fields this console need not know. */
export function any(value: unknown): string {
  if (value === null || value === undefined || value === '') return NONE;
  if (typeof value === 'boolean') return yesNo(value);
  if (typeof value === 'number') return count(value);
  if (typeof value === 'string') return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? time(value) : value;
  // User Properties: names may come more than once, so they are pairs.
  if (isPairs(value)) return value.map(([name, one]) => `${name}: ${one}`).join(', ');
  if (Array.isArray(value)) return value.length === 0 ? NONE : value.map(any).join(', ');
  return (
    Object.entries(value)
      .map(([name, one]) => `${name}: ${any(one)}`)
      .join(', ') || NONE
  );
}

/** `sessionExpirySeconds` → `session expiry seconds`. */
export function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replace(/\bid\b/g, 'ID');
}
