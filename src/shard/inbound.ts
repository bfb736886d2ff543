/**
 * Inbound: records of other shards, handled as they come off the rings. What a record asks is done at once, and answers go back on the same link.
 *
 * Hot path.
 */
import { readText } from '../base/bytes.ts';
import { unpackObject } from '../base/pack.ts';
import { flushAcks } from './acks.ts';
import type { Peer } from './channel.ts';
import { counter } from './counters.ts';
import { noteOriginDone } from './durable.ts';
import type { Link } from './link.ts';
import { readControl } from './mesh.ts';
import { confirmSubacks } from './on-subscribe.ts';
import { NO_SUBSCRIBER, STATUS_WORDS, STORED, UNSTORABLE } from './outcome.ts';
import { deliverP2p } from './p2p.ts';
import {
  ASKS_BIT,
  CONNECTED_BIT,
  KNOWN_BIT,
  RECORD_ACKS,
  RECORD_CONTROL,
  RECORD_DATAGRAM,
  RECORD_HANDOFF,
  RECORD_OBSERVED,
  RECORD_ORIGIN_DONE,
  RECORD_P2P,
  RECORD_PROBE,
  RECORD_PUBLISH,
  RECORD_RELAY_OPEN,
  RECORD_RELAY_TO_CLIENT,
  RECORD_RELAY_TO_EDGE,
  RECORD_RELAY_TO_OWNER,
  RECORD_RELAY_TO_SESSION,
  RECORD_RESULT,
  RECORD_RETAIN,
  RECORD_RETAINED,
  RECORD_SHARED,
  readMessageRecord,
  readTrace,
  recordKind,
  recordWantsStatus,
  traceLength,
} from './record.ts';
import { storeRetained } from './retain.ts';
import { beginScan, cancelScan, continueScan, endBatch, takeRetained } from './retained-query.ts';
import { deliverLocal, deliverToMember, routeOf } from './route.ts';
import type { Shard } from './shard.ts';

const HANDED_OFF = counter('connections/handed-off');

/** Handles one record; `bytes` are valid until this returns. */
export function handleRecord(shard: Shard, link: Link, word: number, bytes: Buffer, at: number, end: number): void {
  const kind = recordKind(word);
  switch (kind) {
    case RECORD_P2P:
    case RECORD_PUBLISH:
    case RECORD_SHARED:
    case RECORD_RETAIN:
    case RECORD_RETAINED:
    case RECORD_OBSERVED:
      handleMessage(shard, link, kind, word, bytes, at, end);
      return;
    case RECORD_ACKS:
      shard.mesh.acknowledge(link, bytes.readUInt32LE(at), flushAcks);
      return;
    case RECORD_RESULT:
      handleResult(shard, link, bytes, at, end);
      return;
    case RECORD_HANDOFF: {
      const fd = bytes.readUInt32LE(at);
      const peerEnd = at + 8 + bytes.readUInt32LE(at + 4);
      shard.counters[HANDED_OFF]!++;
      shard.adoptSocket(fd, unpackObject(bytes, at + 8, peerEnd) as Peer, bytes.subarray(peerEnd, end));
      return;
    }
    case RECORD_DATAGRAM: {
      const hostEnd = at + 8 + bytes.readUInt32LE(at + 4);
      shard.takeDatagram(
        bytes.readUInt16LE(at),
        bytes.subarray(hostEnd, end),
        readText(bytes, at + 8, hostEnd),
        bytes.readUInt16LE(at + 2),
      );
      return;
    }
    case RECORD_RELAY_OPEN:
    case RECORD_RELAY_TO_SESSION:
    case RECORD_RELAY_TO_CLIENT:
    case RECORD_RELAY_TO_EDGE:
    case RECORD_RELAY_TO_OWNER:
      shard.relays.handle(link.peer, word, bytes, at, end);
      return;
    case RECORD_ORIGIN_DONE:
      for (let one = at; one < end; one += 12) noteOriginDone(shard, bytes.readDoubleLE(one), bytes.readUInt32LE(one + 8));
      return;
    case RECORD_PROBE:
      // The clocks of two threads may differ by a microsecond: the shifts keep the sign.
      shard.measures.hop.add(((shard.timers.moment() - bytes.readUInt32LE(at)) << 2) >> 2);
      return;
    case RECORD_CONTROL:
      handleControl(shard, link, bytes, at, end);
      return;
    default:
      shard.log.error({ kind, peer: link.peer }, 'unknown record from another shard');
  }
}

function handleMessage(shard: Shard, link: Link, kind: number, word: number, bytes: Buffer, at: number, end: number): void {
  const view = shard.view;
  const fields = shard.recordFields;
  readMessageRecord(bytes, at, word, view, fields);
  view.trace = readTrace(bytes, end, word);
  const asksEnd = end - traceLength(bytes, end, word);
  // The fields are reused by anything that is sent from here on.
  const { sequence, topicHash, publisherHash, number, extraAt, extraEnd, questionAt } = fields;
  const position = shard.journal.position;
  shard.originId = fields.originId;
  shard.originPacketId = fields.originPacketId;
  shard.mayBeKnown = (word & KNOWN_BIT) !== 0;
  if (shard.mayBeKnown) shard.givenNow.clear();
  const outcome = shard.outcome;
  outcome.begin(null, 0, view.qos);
  shard.newMessage();
  let idAt = extraAt;
  let idEnd = extraEnd;
  switch (kind) {
    case RECORD_P2P:
      if (extraAt === extraEnd) {
        idAt = view.topicAt + number;
        idEnd = view.topicEnd;
      }
      outcome.onlyConnected = (word & CONNECTED_BIT) !== 0;
      outcome.note(deliverP2p(shard, view, bytes, idAt, idEnd, topicHash, bytes, (word & ASKS_BIT) === 0 ? asksEnd : questionAt, asksEnd));
      break;
    case RECORD_PUBLISH:
      deliverLocal(shard, view, routeOf(shard, bytes, view.topicAt, view.topicEnd, topicHash), null);
      if (!outcome.wasTaken && outcome.worst === 0) outcome.note(NO_SUBSCRIBER);
      break;
    case RECORD_OBSERVED:
      deliverLocal(shard, view, routeOf(shard, bytes, extraAt, extraEnd, topicHash), null);
      if (!outcome.wasTaken && outcome.worst === 0) outcome.note(NO_SUBSCRIBER);
      break;
    case RECORD_SHARED:
      outcome.note(deliverToMember(shard, view, bytes, extraAt, extraEnd, publisherHash, topicHash));
      break;
    case RECORD_RETAIN:
      outcome.note(storeRetained(shard, view, topicHash));
      break;
    default:
      takeRetained(shard, view, number, null);
      outcome.wasTaken = true;
  }
  shard.newMessage();
  view.trace = null;
  shard.originId = 0;
  if (sequence === 0) return;
  if (shard.journal.isGated && (outcome.restsOnStore || shard.journal.position !== position)) {
    shard.mesh.gate(link, link.takenSequence);
    shard.journal.awaited(true);
  }
  link.takenSequence = sequence;
  // Plain success needs no record of its own: the next acknowledgement says it.
  const isRefused = outcome.worst === UNSTORABLE;
  if (outcome.wasTaken && !isRefused && !recordWantsStatus(word)) return;
  const result = isRefused ? UNSTORABLE : outcome.wasTaken ? outcome.taken : outcome.isStored ? STORED : outcome.worst;
  if (kind !== RECORD_P2P) idEnd = idAt;
  shard.mesh.sendResult(link, sequence, result, bytes, idAt, idEnd);
}

/** What another shard did with one of our messages. */
function handleResult(shard: Shard, link: Link, bytes: Buffer, at: number, end: number): void {
  const result = bytes.readUInt32LE(at + 4);
  const ack = shard.mesh.noteResult(link, bytes.readUInt32LE(at), result);
  if (ack === null) return;
  if (ack.statuses !== null && at + 8 < end) ack.statuses.push(readText(bytes, at + 8, end).concat('=', STATUS_WORDS[result]!));
  // The peer's plain answers wait for its disk, and this one need not.
  if (result !== UNSTORABLE || ack.remaining === 0) return;
  if (ack.qos === 1 && ack.connection !== null) ack.giveUp();
  else ack.answered();
  flushAcks(ack);
}

/** A restarted peer has announced all that it wants again: the rest was wanted by sessions that ended with its predecessor. */
function forgetUnlearned(shard: Shard, link: Link): void {
  const learned = link.learned;
  link.learned = null;
  if (learned === null) return;
  const gone: { filter: string; shareName: string }[] = [];
  shard.interest.forEachOf(link.peer, (filter, shareName) => {
    if (!learned.has(`${shareName}/${filter}`)) gone.push({ filter, shareName }); // cold: once for each restart
  });
  for (const { filter, shareName } of gone) {
    if (shareName === '') shard.interest.remove(filter, link.peer);
    else shard.interest.setShare(shareName, filter, link.peer, 0, 0);
  }
}

function handleControl(shard: Shard, link: Link, bytes: Buffer, at: number, end: number): void {
  const control = readControl(bytes, at, end);
  switch (control.kind) {
    case 'route':
      link.learned?.add(`/${control.filter}`); // cold: while a peer restarts
      if (control.isWanted) shard.interest.add(control.filter, link.peer);
      else shard.interest.remove(control.filter, link.peer);
      link.routesInstalled = control.sequence;
      return;
    case 'share':
      link.learned?.add(`${control.shareName}/${control.filter}`); // cold: while a peer restarts
      shard.interest.setShare(control.shareName, control.filter, link.peer, control.onlineCount, control.memberCount);
      link.routesInstalled = control.sequence;
      return;
    case 'installed':
      link.routesKnownByPeer = control.sequence;
      confirmSubacks(shard);
      if (!shard.isServing) shard.checkReady();
      return;
    case 'recovered':
      link.hasRecovered = true;
      forgetUnlearned(shard, link);
      return;
    case 'store-failed':
      shard.journal.refuseWaitingFor(link);
      return;
    case 'snapshot-end':
      link.routesInstalled = control.sequence;
      link.hasSnapshot = true;
      shard.checkReady();
      return;
    case 'retained-query':
      beginScan(shard, link.peer, control.query, control.filter);
      return;
    case 'retained-more':
      continueScan(shard, link.peer, control.query);
      return;
    case 'retained-cancel':
      cancelScan(shard, link.peer, control.query);
      return;
    case 'retained-end':
      endBatch(shard, link.peer, control.query, control.isLast);
      return;
    case 'ask':
      shard.asks.asked(link.peer, control.ask, control.name, control.value);
      return;
    case 'answer':
      shard.asks.answered(control.ask, control.value);
      return;
    case 'confirmed':
      shard.confirmations.settle(control.waiter, control.target, control.status);
      return;
    case 'jumbo-taken':
      link.jumboOutstanding -= control.count;
      return;
  }
}
