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
  /** The channel is closed, whoever closed it. Called once, nothing after it, and never from within a call of the channel. @param reason for events, such as `tcp_closed` */
  lost(reason: string): void;
}

/** A reason for `lost`: one stream of a QUIC connection has ended, not the connection. */
export const STREAM_CLOSED = 'quic_stream_closed';

/** Nobody holds the channel. */
export const NO_EVENTS: ChannelEvents = { received: () => true, drained: () => {}, lost: () => {} };

/** A channel whose events go where they are told: to whoever holds it now. */
export interface EventChannel extends Channel {
  events: ChannelEvents;
}

/** Where a connection comes from. */
export interface Peer {
  /** `address:port`, IPv6 in brackets; for events and logs. */
  readonly name: string;
  /** Place of its listener in the configuration. */
  readonly listener: number;
  /** The client's certificate as it is in DER, checked by the transport; null: it has shown none. */
  readonly certificate: Uint8Array | null;
}
