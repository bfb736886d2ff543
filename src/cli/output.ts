/**
 * What commands on the API print: tables that fit the terminal, JSON, numbers and times for people.
 *
 * Client Identifiers and topics come from anybody. Invariant: nothing of them reaches the terminal that could move its cursor, change its colours or turn its text around.
 */
import { styleText } from 'node:util';

export interface Column {
  readonly name: string;
  readonly align?: 'right';
  /** May be cut where the terminal is narrow. */
  readonly isFlexible?: boolean;
}

/** Columns that a cut value keeps. */
const FLEXIBLE_MIN = 8;
const GAP = '  ';
/** Controls, and what is not seen or turns text around: no part of a name that a person reads. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** The text with whatever could steer a terminal written out. */
export function visible(text: string): string {
  return text.toWellFormed().replace(UNSAFE, (character) => {
    const code = character.codePointAt(0)!;
    const digits = code.toString(16);
    return code <= 0xff ? `\\x${digits.padStart(2, '0')}` : `\\u{${digits}}`;
  });
}

/** As JSON that is safe to look at. */
export function jsonText(value: unknown, indent: number = 0): string {
  return JSON.stringify(value, null, indent).replace(UNSAFE, (character) => (character === '\n' ? '\n' : unitsOf(character)));
}

/** As JSON writes a character out. */
function unitsOf(character: string): string {
  let text = '';
  for (let at = 0; at < character.length; at++) text += `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
  return text;
}

/** Standard output. Who has read enough (`onehop … | head`) ends the command without a word. */
export function standardOutput(): NodeJS.WriteStream {
  const { stdout } = process;
  if (stdout.listenerCount('error') === 0)
    stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return stdout;
}

/** For a command that has something to end in the broker: who has read enough stops it as Ctrl-C does; the reason is the error. Before anything is printed. */
export function stopWhenUnread(stopped: AbortController): void {
  process.stdout.on('error', (error) => stopped.abort(error));
}

/** Writes a line to standard output. */
export function print(line: string): void {
  standardOutput().write(`${line}\n`);
}

/** A line to standard error: what is no result. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Columns of the terminal; null where the output is none. */
export function terminalWidth(): number | null {
  return process.stdout.isTTY ? Math.max(20, process.stdout.columns || 80) : null;
}

/** Whether the output may have colours: a terminal that has them, and no `NO_COLOR`. */
export function isColoured(): boolean {
  const { NO_COLOR } = process.env;
  return process.stdout.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && process.stdout.hasColors();
}

/** The text in a style, where the output may have one. */
export function styled(format: Parameters<typeof styleText>[0], text: string): string {
  return isColoured() ? styleText(format, text) : text;
}

/** Lines of tables; loads what knows the width of characters. */
export async function tables(): Promise<
  (columns: readonly Column[], rows: readonly (readonly string[])[], width: number | null) => string[]
> {
  const { default: widthOf } = await import('string-width');
  const segmenter = new Intl.Segmenter();
  const cut = (text: string, width: number): string => {
    if (widthOf(text) <= width) return text;
    let result = '';
    let used = 0;
    for (const { segment } of segmenter.segment(text)) {
      const columns = widthOf(segment);
      if (used + columns > width - 1) break;
      result += segment;
      used += columns;
    }
    return `${result}…`;
  };
  const padded = (text: string, width: number, isRight: boolean): string => {
    const gap = ' '.repeat(Math.max(0, width - widthOf(text)));
    return isRight ? gap + text : text + gap;
  };
  return (columns, rows, width) => {
    const cells = rows.map((row) => row.map(visible));
    const widths = columns.map(({ name }, at) => Math.max(name.length, ...cells.map((row) => widthOf(row[at] ?? ''))));
    if (width !== null) shrink(columns, widths, width);
    const line = (values: readonly string[]): string =>
      columns
        .map(({ align }, at) => padded(cut(values[at] ?? '', widths[at]!), widths[at]!, align === 'right'))
        .join(GAP)
        .trimEnd();
    const fitted = (text: string): string => (width === null ? text : cut(text, width));
    return [styled('bold', fitted(line(columns.map(({ name }) => name)))), ...cells.map((row) => fitted(line(row)))];
  };
}

/** Takes columns away from the widest that may be cut, until all fit. */
function shrink(columns: readonly Column[], widths: number[], width: number): void {
  let over = widths.reduce((sum, one) => sum + one, 0) + GAP.length * (widths.length - 1) - width;
  while (over > 0) {
    let widest = -1;
    for (const [at, { isFlexible }] of columns.entries())
      if (isFlexible === true && widths[at]! > FLEXIBLE_MIN && (widest < 0 || widths[at]! > widths[widest]!)) widest = at;
    if (widest < 0) return;
    // Down to the next widest, then in turn.
    const others = widths.filter((_, at) => at !== widest && columns[at]!.isFlexible === true);
    const less = Math.max(1, Math.min(over, widths[widest]! - Math.max(FLEXIBLE_MIN, ...others)));
    widths[widest]! -= less;
    over -= less;
  }
}

/** 12,345. */
export function count(value: number | undefined): string {
  return value === undefined ? '' : Math.round(value).toLocaleString('en-US');
}

/** 12.3 MB. */
export function bytes(value: number | undefined): string {
  if (value === undefined) return '';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = value;
  for (; left >= 1000 && at < units.length - 1; at++) left /= 1000;
  return `${at === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${units[at]}`;
}

/** 3d 4h, 5m 2s. @param seconds whole */
export function duration(seconds: number): string {
  const parts: string[] = [];
  let left = Math.max(0, Math.floor(seconds));
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole > 0 && parts.length < 2) parts.push(`${whole}${unit}`);
    else if (parts.length > 0) break;
  }
  return parts.join(' ') || '0s';
}

/** How long ago a time was. */
export function since(time: string | null | undefined): string {
  return time === null || time === undefined ? '' : duration((Date.now() - Date.parse(time)) / 1000);
}
