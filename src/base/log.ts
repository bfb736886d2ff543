/**
 * The log: JSON lines by pino, one logger for each thread, named by the thread that writes. Success paths of packets never log.
 *
 * Each line is one event in plain words (`msg`) with its facts as fields. Lines go to standard output with one write each, so that lines of several
 * threads never mix. This file is the only one that knows the logging library.
 */
import { type Logger, pino } from 'pino';
import type { LogLevel } from './settings.ts';

/** A levelled structured logger: facts first, then the sentence. */
export interface Log {
  trace(facts: object, message: string): void;
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** Writes lines from another level up from now on. @param log made by `createLog` */
export function changeLogLevel(log: Log, level: LogLevel): void {
  (log as unknown as Logger).level = level;
}

/**
 * @param level lowest level that is written
 * @param facts fields of every line, such as `{ shard: 1 }`
 */
export function createLog(level: LogLevel, facts: Record<string, unknown>): Log {
  // Synchronous writes: a line that explains a crash must be out before the crash. Nothing logs per packet, so the cost does not matter.
  return pino(
    { level, base: facts, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    pino.destination({ fd: 1, sync: true }),
  );
}
