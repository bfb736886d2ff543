/**
 * Status lines of HTTP answers, as the library wants them.
 */
import { STATUS_CODES } from 'node:http';

/** By number (RFC 9110, section 15). */
export const STATUS_LINES: ReadonlyMap<number, string> = new Map(
  Object.entries(STATUS_CODES).map(([status, text]) => [Number(status), `${status} ${text}`]),
);
