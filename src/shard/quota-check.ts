/**
 * Quota checks: whether one PUBLISH may come in, whether one may go out, and whether one subscription may be made. Asked where `Connection.quota` is not null.
 *
 *   PUBLISH ── client ── group ── listener ── broker ──┬─ all have room: each is charged
 *                                                      └─ one has none: QoS 0 dropped · MQTT 5 refused (0x97) · else left unread until there is room
 *
 * What was acknowledged is never asked about again: acknowledgements and PUBREL pass, and so does a QoS 2 message that came before.
 *
 * Hot path.
 */
import { SLOT_MILLISECONDS } from '../base/timers.ts';
import { V5 } from '../protocol/packet-type.ts';
import type { ReasonCode } from '../protocol/reason-code.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import type { ConnectionQuota, Scope } from './quota-scope.ts';

const REJECTED = counter('quota/rejected');
const SUBSCRIBES_REJECTED = counter('quota/subscribe/rejected');
const DROPPED_QUOTA = counter('publish/dropped/quota');

/** What becomes of a PUBLISH. */
export const ADMITTED = 0;
export const DROPPED_OVER = 1;
export const REJECTED_OVER = 2;
export const HELD = 3;

/** A handler's answer: the packet is left where it is, and read again when the connection is. */
export const HELD_BACK: ReasonCode = -1;

/** Whether the PUBLISH in bytes[at, end) may come in; if so it is charged. @returns ADMITTED, DROPPED_OVER, REJECTED_OVER, or HELD: the connection is not read any more */
export function admitPublish(
  connection: Connection,
  quota: ConnectionQuota,
  bytes: Uint8Array,
  first: number,
  at: number,
  end: number,
): number {
  const { messagesIn, bytesIn, shared } = quota;
  if (messagesIn === null && bytesIn === null && shared.length === 0) return ADMITTED;
  const qos = (first >>> 1) & 3;
  if (qos === 2 && wasReceived(connection, bytes, at, end)) return ADMITTED;
  const now = connection.shard.timers.now;
  const { hold } = connection;
  if (hold !== null && qos > 0 && (hold.messages <= 0 || hold.bytes <= 0) && now < hold.until) return over(connection, hold.scope, qos);
  const isLow = qos === 0;
  if ((messagesIn !== null && !messagesIn.has(now, isLow)) || (bytesIn !== null && !bytesIn.has(now, isLow)))
    return over(connection, quota.client!.inbound!, qos);
  for (let i = 0; i < shared.length; i++) {
    const scope = shared[i]!;
    const leavesReserve = isLow || (scope.waiting > 0 && (hold === null || now >= hold.until) && isTurnOfWaiting(now));
    if (!scope.has(now, leavesReserve)) return over(connection, scope, qos);
  }
  const cost = end - at;
  if (messagesIn !== null) messagesIn.spend(1);
  if (bytesIn !== null) bytesIn.spend(cost);
  for (let i = 0; i < shared.length; i++) shared[i]!.spend(cost);
  if (hold !== null && qos > 0) {
    hold.messages--;
    hold.bytes -= cost;
  }
  return ADMITTED;
}

/**
 * Whether a message of an HTTP caller may come in; if so it is charged. Nobody can be left unread there, so one that may not is refused whatever its QoS.
 * @param cost bytes
 */
export function admitGiven(connection: Connection, quota: ConnectionQuota, qos: number, cost: number): boolean {
  const { messagesIn, bytesIn, shared } = quota;
  if (messagesIn === null && bytesIn === null && shared.length === 0) return true;
  const now = connection.shard.timers.now;
  const isLow = qos === 0;
  if ((messagesIn !== null && !messagesIn.has(now, isLow)) || (bytesIn !== null && !bytesIn.has(now, isLow)))
    return refuseGiven(connection, quota.client!.inbound!, qos);
  for (let i = 0; i < shared.length; i++) {
    const scope = shared[i]!;
    if (!scope.has(now, isLow || (scope.waiting > 0 && isTurnOfWaiting(now)))) return refuseGiven(connection, scope, qos);
  }
  if (messagesIn !== null) messagesIn.spend(1);
  if (bytesIn !== null) bytesIn.spend(cost);
  for (let i = 0; i < shared.length; i++) shared[i]!.spend(cost);
  return true;
}

function refuseGiven(connection: Connection, scope: Scope, qos: number): boolean {
  const { shard } = connection;
  shard.quotas.report(connection, scope.name);
  shard.counters[qos === 0 ? DROPPED_QUOTA : REJECTED]!++;
  return false;
}

/**
 * In every other slot of time the reserve is for those who wait. They look for room four times a second only: who is refused instead, and tries again at once,
 * would find all of it before them.
 */
function isTurnOfWaiting(now: number): boolean {
  return (Math.floor(now / SLOT_MILLISECONDS) & 1) === 1;
}

/** The message was for more than one client: each counts, and the first has been charged. */
export function chargeTargets(quota: ConnectionQuota, more: number): void {
  const { messagesIn, shared } = quota;
  if (messagesIn !== null) messagesIn.spend(more);
  for (let i = 0; i < shared.length; i++) shared[i]!.messages?.spend(more);
}

/** A QoS 2 message that has been taken already, and is sent again. */
function wasReceived(connection: Connection, bytes: Uint8Array, at: number, end: number): boolean {
  const { received } = connection.session!;
  if (received === null || at + 2 > end) return false;
  const idAt = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
  return idAt + 2 <= end && received.has((bytes[idAt]! << 8) | bytes[idAt + 1]!);
}

function over(connection: Connection, scope: Scope, qos: number): number {
  const { shard } = connection;
  shard.quotas.report(connection, scope.name);
  if (qos === 0) {
    shard.counters[DROPPED_QUOTA]!++;
    return DROPPED_OVER;
  }
  if (scope.rejects && connection.version === V5) {
    shard.counters[REJECTED]!++;
    return REJECTED_OVER;
  }
  shard.quotas.hold(connection, scope);
  return HELD;
}

/** Whether a message may go out now. @param isLow QoS 0, which leaves the rest of the burst to others */
export function maySend(connection: Connection, quota: ConnectionQuota, isLow: boolean): boolean {
  const { messagesOut, bytesOut } = quota;
  if (messagesOut === null && bytesOut === null) return true;
  const now = connection.shard.timers.now;
  return (messagesOut === null || messagesOut.has(now, isLow)) && (bytesOut === null || bytesOut.has(now, isLow));
}

/** A message has gone out. */
export function chargeSent(quota: ConnectionQuota, bytes: number): void {
  if (quota.messagesOut !== null) quota.messagesOut.spend(1);
  if (quota.bytesOut !== null) quota.bytesOut.spend(bytes);
}

/** Whether a SUBSCRIBE of a client that cannot be told of a quota must wait; if so the connection is not read any more. */
export function holdSubscribe(connection: Connection, quota: ConnectionQuota): boolean {
  if (connection.version === V5) return false;
  const full = fullScope(connection, quota);
  if (full === null) return false;
  connection.shard.quotas.report(connection, full.name);
  connection.shard.quotas.hold(connection, full);
  return true;
}

/** Whether one more Topic Filter may be subscribed to; if so it is charged. MQTT 3.1 and 3.1.1 have waited for it. */
export function admitSubscribe(connection: Connection, quota: ConnectionQuota): boolean {
  const { subscribes } = quota;
  const full = connection.version === V5 ? fullScope(connection, quota) : null;
  if (full !== null) {
    connection.shard.counters[SUBSCRIBES_REJECTED]!++;
    connection.shard.quotas.report(connection, full.name);
    return false;
  }
  for (let i = 0; i < subscribes.length; i++) subscribes[i]!.spend(0);
  return true;
}

/** The first scope that has no room for a Topic Filter, or null. */
function fullScope(connection: Connection, quota: ConnectionQuota): Scope | null {
  const { subscribes } = quota;
  const now = connection.shard.timers.now;
  for (let i = 0; i < subscribes.length; i++) {
    const scope = subscribes[i]!;
    const leavesReserve = connection.version === V5 && scope.waiting > 0 && isTurnOfWaiting(now);
    if (!scope.has(now, leavesReserve)) return scope;
  }
  return null;
}
