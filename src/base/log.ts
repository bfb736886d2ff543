/**
 * The log: JSON lines by pino, one logger for each thread, named by the thread that writes. Success paths of packets never log.
 *
 * Each line is one event in plain words (`msg`) with its facts as fields. Lines go to standard output with one write each, so that lines of several
 * threads never mix. This file is the only one that knows the logging library. It loads it for the first line that is written: that takes 25 ms, and a
 * shard has nothing to say at its start, often not for days.
 */
import { createRequire } from 'node:module';
import type { Logger, pino } from 'pino';
import type { LogLevel } from './settings.ts';

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

/** A levelled structured logger: facts first, then the sentence. */
export interface Log {
  trace(facts: object, message: string): void;
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

class LateLog implements Log {
  private readonly facts: Record<string, unknown>;
  private logger: Logger | null;
  /** Place of the lowest level that is written. */
  private least: number;

  constructor(level: LogLevel, facts: Record<string, unknown>) {
    this.facts = facts;
    this.logger = null;
    this.least = LEVELS.indexOf(level);
  }

  setLevel(level: LogLevel): void {
    this.least = LEVELS.indexOf(level);
  }

  trace(facts: object, message: string): void {
    if (this.least <= 0) this.open().trace(facts, message);
  }

  debug(facts: object, message: string): void {
    if (this.least <= 1) this.open().debug(facts, message);
  }

  info(facts: object, message: string): void {
    if (this.least <= 2) this.open().info(facts, message);
  }

  warn(facts: object, message: string): void {
    if (this.least <= 3) this.open().warn(facts, message);
  }

  error(facts: object, message: string): void {
    if (this.least <= 4) this.open().error(facts, message);
  }

  /** Makes the logger, where it is not there yet. */
  open(): Logger {
    this.logger ??= createLogger(this.facts);
    return this.logger;
  }
}

/** Writes lines from another level up from now on. @param log made by `createLog` */
export function changeLogLevel(log: Log, level: LogLevel): void {
  (log as LateLog).setLevel(level);
}

/** Loads the library now: who has something to say in any case chooses a moment when nobody waits for it. @param log made by `createLog` */
export function openLog(log: Log): void {
  (log as LateLog).open();
}

/**
 * @param level lowest level that is written
 * @param facts fields of every line, such as `{ shard: 1 }`
 */
export function createLog(level: LogLevel, facts: Record<string, unknown>): Log {
  return new LateLog(level, facts);
}

function createLogger(facts: Record<string, unknown>): Logger {
  const library = createRequire(import.meta.url)('pino') as typeof pino;
  // Which lines are written is decided before. Synchronous writes: a line that explains a crash must be out before the crash. Nothing logs per packet, so the cost does not matter.
  return library(
    { level: 'trace', base: facts, timestamp: library.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    library.destination({ fd: 1, sync: true }),
  );
}
