/**
 * Spans of time on the command line, as in the configuration.
 */
import { duration } from '../server/config-value.ts';
import { Failure } from './failure.ts';

const MAX_MILLISECONDS = 10 * 365 * 86_400_000;
const kind = duration({ unit: 'milliseconds', min: 1_000, max: MAX_MILLISECONDS });

/** Milliseconds of `1h` and the like. @throws Failure with what the option expects */
export function millisecondsOf(option: string, text: string): number {
  const result = kind.schema.safeParse(text);
  if (!result.success) throw new Failure(`${option}: ${result.error.issues[0]!.message}`, 2);
  return result.data;
}
