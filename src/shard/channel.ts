/**
 * Channel: what the shard needs of a network connection, whatever carries it. The shard never sees a socket.
 *
 * A transport implements it and calls `receive`, `drained` and `connectionLost`. Owned by the shard that owns the session.
 */
export interface Channel {
  /**
   * Sends bytes[0, length).
   * @returns true when all of it was taken and `bytes` may be reused at once; false when the channel keeps `bytes` until it calls `drained`.
   * The caller does not write again before that.
   */
  write(bytes: Uint8Array, length: number): boolean;
  /** Stops reading: bytes that come wait in the network. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes our side; what still comes is thrown away until the peer closes or a short time has passed. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

/** Where a connection comes from, for events and logs. */
export interface Peer {
  /** `address:port`, IPv6 in brackets. */
  readonly name: string;
}
