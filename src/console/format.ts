/**
 * Numbers, times and bytes as people read them.
 */

const NUMBER = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const TIME = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

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

/** A payload: as text where it is UTF-8, else in hexadecimal. */
export function payload(base64: string | null | undefined): string {
  if (base64 === undefined || base64 === null) return '';
  const data = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  try {
    const whole = new TextDecoder('utf-8', { fatal: true }).decode(data);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what makes bytes no text.
    if (!/[\u0000-\u0008\u000e-\u001f]/.test(whole)) return whole;
  } catch {
    // Bytes, then.
  }
  return [...data].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** Any value of a record whose fields this console need not know. */
export function any(value: unknown): string {
  if (value === null || value === undefined || value === '') return NONE;
  if (typeof value === 'boolean') return yesNo(value);
  if (typeof value === 'number') return count(value);
  if (typeof value === 'string') return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? time(value) : value;
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
