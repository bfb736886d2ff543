/*
 * Assertions: the vehicle of our own faults. A peer's fault is a ReasonCode and the world's fault is an Error at a named boundary; what
 * lands here is a broken invariant, and the shard that holds it must not go on.
 */

/**
 * Stops when an invariant does not hold.
 * @param ok the invariant
 * @param why what was expected, as a sentence for the log
 * @throws Error always when `ok` is falsy
 */
export function assert(ok: unknown, why: string): asserts ok {
  if (!ok) throw new Error(`assertion failed: ${why}`);
}
