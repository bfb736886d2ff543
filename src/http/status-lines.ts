/** Status lines of HTTP answers, by number (RFC 9110, section 15). */
import { STATUS_CODES } from 'node:http';

export const STATUS_LINES: ReadonlyMap<number, string> = new Map(
  Object.entries(STATUS_CODES).map(([status, text]) => [Number(status), `${status} ${text}`]),
);
