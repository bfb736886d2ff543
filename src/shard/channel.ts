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

/**
 * What a transport tells whoever holds its channel: admission first, then the connection of the client, or the relay to the shard that owns it.
 */
export interface ChannelEvents {
  /**
   * Bytes[0, length) came; they are the transport's again when this returns.
   * @returns false when the transport should stop reading until `Channel.resume()` is called
   */
  received(bytes: Uint8Array, length: number): boolean;
  /** The block that `Channel.write` kept is the caller's again. */
  drained(): void;
  /** The channel is closed, whoever closed it. Called once, and nothing after it. @param reason for events, such as `tcp_closed` */
  lost(reason: string): void;
}

/** Where a connection comes from, for events and logs. */
export interface Peer {
  /** `address:port`, IPv6 in brackets. */
  readonly name: string;
}
