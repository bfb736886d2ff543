/**
 * The terminal while a command draws on it: another screen that goes away again, lines that are drawn over the old ones without flicker, and keys.
 *
 * Invariant: however the program ends, the terminal is as it was.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { note } from './output.ts';
import { StopRequest } from './stop-request.ts';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
/** A terminal that knows this shows all of a picture at once; others do not mind. */
const BEGIN_PICTURE = '\u001b[?2026h\u001b[H';
const END_PICTURE = '\u001b[J\u001b[?2026l';
const TO_END_OF_LINE = '\u001b[K';
/** Ctrl-C, Ctrl-D. */
const LAST_KEYS = ['q', 'Q', '\u0003', '\u0004'];

export class LiveScreen {
  private readonly signal: AbortController;
  private readonly onKey: (text: Buffer) => void;
  private readonly onResize: () => void;
  private readonly leave: () => void;

  /** @param redraw the terminal has another size @param stopped aborted when somebody wants an end */
  constructor(redraw: () => void, stopped: AbortController) {
    this.signal = stopped;
    this.onResize = redraw;
    this.onKey = (text) => {
      if (LAST_KEYS.some((key) => text.includes(key))) this.signal.abort();
    };
    this.leave = () => {
      if (process.stdin.isTTY) process.stdin.setRawMode(false);
      process.stdout.write(LEAVE);
    };
  }

  begin(): void {
    const { stdin, stdout } = process;
    process.on('exit', this.leave);
    stdout.write(ENTER);
    stdout.on('resize', this.onResize);
    if (!stdin.isTTY) return;
    stdin.setRawMode(true);
    stdin.on('data', this.onKey);
    stdin.resume();
  }

  /** Draws over what was there. What the terminal has no room for is left out. */
  draw(lines: readonly string[]): void {
    const rows = process.stdout.rows || 24;
    const shown = lines.slice(0, rows).map((line) => line + TO_END_OF_LINE);
    process.stdout.write(BEGIN_PICTURE + shown.join('\r\n') + END_PICTURE);
  }

  end(): void {
    const { stdin, stdout } = process;
    process.off('exit', this.leave);
    stdout.off('resize', this.onResize);
    stdin.off('data', this.onKey);
    stdin.pause();
    this.leave();
  }
}

/** Aborted by the first SIGINT or SIGTERM; a later one ends the program at once. */
export function stopSignal(): AbortController {
  const stopped = new AbortController();
  const request = new StopRequest(
    () => stopped.abort(),
    () => process.exit(1),
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => request.signal(performance.now()));
  return stopped;
}

/** Resolves after a time, or when it is to stop. */
export async function pause(milliseconds: number, { signal }: AbortController): Promise<void> {
  try {
    await wait(milliseconds, undefined, { signal });
  } catch {
    // It is to stop.
  }
}

/** A line for people while something else is on standard output. */
export function say(line: string): void {
  if (process.stderr.isTTY) note(line);
}
