/**
 * Keep Alive: a client that is silent for one and a half times its Keep Alive is disconnected [MQTT-3.1.2-22]. The interval may be changed while it is connected.
 */
import { Timer } from '../base/timers.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { endConnection } from './sessions.ts';
import type { Shard } from './shard.ts';

const KEEP_ALIVE_EXPIRED = counter('keepalive/expired');

/** Watches a client from now on. @param seconds 0: it is not watched */
export function watchKeepAlive(shard: Shard, connection: Connection, seconds: number): void {
  connection.keepAliveSeconds = seconds;
  if (seconds === 0) return;
  connection.timer = Timer.of(connection, checkKeepAlive);
  shard.timers.arm(connection.timer, seconds * 1500);
}

/** Another interval for a connected client that is watched; it holds at once. @param seconds more than 0 */
export function changeKeepAlive(shard: Shard, connection: Connection, seconds: number): void {
  connection.keepAliveSeconds = seconds;
  shard.timers.arm(connection.timer!, Math.max(0, seconds * 1500 - idleMilliseconds(shard, connection)));
}

/** The timer is not moved by every packet: when it fires it looks at the time of the last one, and sleeps for what is left. */
function checkKeepAlive(connection: Connection): void {
  const { shard } = connection;
  if (connection.state !== CONNECTED) return;
  const left = connection.keepAliveSeconds * 1500 - idleMilliseconds(shard, connection);
  // A client that we stopped reading from cannot show that it lives; one that does not take its own answers has only itself to blame.
  if (left > 0 || isHeldBack(connection) || connection.streams?.some(isHeldBack)) {
    shard.timers.arm(connection.timer!, Math.max(left, 1000));
    return;
  }
  shard.counters[KEEP_ALIVE_EXPIRED]!++;
  endConnection(connection, ReasonCode.KeepAliveTimeout, 'keepalive_timeout', true); // [MQTT-3.1.2-22]
}

function idleMilliseconds(shard: Shard, connection: Connection): number {
  // Both are modulo 2^30; the shifts keep the sign of the difference, which is negative after the clock was set back.
  return Math.max(((shard.turnMilliseconds - connection.receivedAt) << 2) >> 2, 0);
}

function isHeldBack(connection: Connection): boolean {
  const { isPaused, bufferedBytes, isAckOrderFull, isThrottled, shard } = connection;
  return isPaused && (bufferedBytes <= shard.settings.limits.outboundBytes || shard.isCongested || isAckOrderFull || isThrottled);
}
