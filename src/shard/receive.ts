/**
 * Receive: bytes from the network to packets. Whole packets are handled in the transport's own buffer; only one that its end cuts is copied.
 *
 *   | packet | packet | pack…          → handled, handled, kept in `connection.partial` until the rest comes
 *
 * Reading stops (and the rest waits) while rings or disk are congested, the client does not take its own output, or has used up a quota.
 *
 * Hot path.
 */
import { copyBytes } from '../base/bytes.ts';
import { FRAME_INCOMPLETE, readFrame } from '../protocol/framer.ts';
import { CLOSING, type Connection, OPENING } from './connection.ts';
import { counter } from './counters.ts';
import { dispatch } from './dispatch.ts';
import { HELD_BACK } from './quota-check.ts';
import { refuse } from './refuse.ts';
import { beginStream, mayBeginStream } from './streams.ts';

/** What a client may send behind its CONNECT before it is judged, and its largest packet in an exchange of AUTH packets. */
const LOGIN_BYTES_MAX = 16 * 1024;

const BYTES_RECEIVED = counter('bytes/received');
const PACKETS_RECEIVED = counter('packets/received');

/**
 * Takes bytes[at, end) from the transport; they are the transport's again when this returns.
 * @returns false when the transport should stop reading until `channel.resume()` is called
 */
export function receive(connection: Connection, bytes: Uint8Array, at: number, end: number): boolean {
  const shard = connection.shard;
  shard.startTurn();
  shard.counters[BYTES_RECEIVED]! += end - at;
  if (connection.state >= CLOSING) return true;
  connection.receivedAt = shard.turnMilliseconds;
  if (connection.control !== null) connection.control.receivedAt = shard.turnMilliseconds;
  // A CONNECT may have to be written, too; for later packets this is looked at after each.
  if (shard.isCongested && connection.state === OPENING) connection.pauseReading();
  if (connection.partial === null) {
    const parsed = parse(connection, bytes, at, end);
    if (parsed < end && connection.state < CLOSING) keepRest(connection, bytes, parsed, end);
  } else {
    append(connection, bytes, at, end);
    parsePartial(connection);
  }
  // While a login is judged a little is read ahead: a connection that is not read does not say that its client has gone.
  return !connection.isPaused || (isLoggingIn(connection) && connection.partialLength < LOGIN_BYTES_MAX);
}

/** The client has sent its CONNECT, and has not been judged. */
function isLoggingIn(connection: Connection): boolean {
  return connection.login !== 0 && connection.state === OPENING;
}

/** Handles whole packets of bytes[from, end). @returns where the first unhandled byte is */
function parse(connection: Connection, bytes: Uint8Array, from: number, end: number): number {
  const shard = connection.shard;
  const frame = shard.frame;
  const limits = shard.settings.limits;
  const packetBytesMax = isLoggingIn(connection) ? LOGIN_BYTES_MAX : connection.inboundPacketBytesMax;
  let at = from;
  while (at < end) {
    if (connection.isPaused) return at;
    const code = readFrame(frame, bytes, at, end, packetBytesMax);
    if (code === FRAME_INCOMPLETE) return at;
    if (code !== 0) {
      refuse(connection, code);
      return end;
    }
    const begin = at;
    at = frame.bodyEnd;
    shard.counters[PACKETS_RECEIVED]!++;
    const reason = dispatch(connection, bytes, frame);
    if (reason !== 0) {
      if (reason === HELD_BACK) {
        shard.counters[PACKETS_RECEIVED]!--;
        return begin;
      }
      refuse(connection, reason);
    }
    if (connection.state >= CLOSING) return end;
    if (shard.isCongested || connection.bufferedBytes > limits.outboundBytes || connection.isAckOrderFull) connection.pauseReading();
  }
  return at;
}

function parsePartial(connection: Connection): void {
  const partial = connection.partial;
  if (partial === null) return;
  const length = connection.partialLength;
  const at = parse(connection, partial, 0, length);
  if (connection.state >= CLOSING || at === length) {
    connection.partial = null;
    connection.partialLength = 0;
  } else if (at > 0) {
    copyBytes(partial, 0, partial, at, length);
    connection.partialLength = length - at;
  }
}

function keepRest(connection: Connection, bytes: Uint8Array, at: number, end: number): void {
  const length = end - at;
  // Sized by what has come, not by what a header promises: a client cannot make the broker reserve memory by lying about a length.
  const partial = Buffer.allocUnsafeSlow(length < 256 ? 512 : length * 2);
  copyBytes(partial, 0, bytes, at, end);
  connection.partial = partial;
  connection.partialLength = length;
}

function append(connection: Connection, bytes: Uint8Array, at: number, end: number): void {
  let partial = connection.partial!;
  const length = end - at;
  const before = connection.partialLength;
  if (before + length > partial.length) {
    const grown = Buffer.allocUnsafeSlow((before + length) * 2);
    copyBytes(grown, 0, partial, 0, before);
    partial = grown;
    connection.partial = partial;
  }
  copyBytes(partial, before, bytes, at, end);
  connection.partialLength = before + length;
}

/** Handles what was left when reading stopped, then reads on. Called by the shard when there is room. */
export function resumeReading(connection: Connection): void {
  if (!connection.isPaused || connection.state >= CLOSING) return;
  // Its quota brings it back.
  if (connection.isThrottled) return;
  if (connection.bufferedBytes > connection.shard.settings.limits.outboundBytes || connection.isAckOrderFull) {
    connection.shard.paused.add(connection);
    return;
  }
  if (connection.state === OPENING && connection.control !== null) {
    // A data stream may come before the CONNECT of its client: it waits until the CONNACK has been written.
    if (!mayBeginStream(connection.control)) {
      connection.shard.paused.add(connection);
      return;
    }
    beginStream(connection);
  }
  connection.isPaused = false;
  connection.shard.startTurn();
  // Keep Alive begins anew: what the client has sent meanwhile may come a moment later.
  connection.receivedAt = connection.shard.turnMilliseconds;
  if (connection.control !== null) connection.control.receivedAt = connection.receivedAt;
  parsePartial(connection);
  if (!connection.isPaused && connection.state < CLOSING) connection.channel.resume();
}
