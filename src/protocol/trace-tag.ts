/**
 * TraceTag: what a message that is traced carries with it, in memory and from shard to shard. Messages that nobody traces carry null, and that is all they cost.
 */
export class TraceTag {
  /** Message ID, 16 bytes. */
  readonly id: Uint8Array;
  /** Numbers of the traces that follow the message whoever gets it; empty where only its receivers are looked at. */
  readonly traces: readonly number[];

  constructor(id: Uint8Array, traces: readonly number[]) {
    this.id = id;
    this.traces = traces;
  }
}
