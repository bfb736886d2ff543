/**
 * Inbound: records of other shards, handled as they come off the rings. What a record asks is done at once, and answers go back on the same link.
 *
 * Hot path.
 */
import { readText } from '../base/bytes.ts';
import { counter } from './counters.ts';
import { type Link, readControl } from './mesh.ts';
import { flushAcks } from './on-publish.ts';
import { confirmSubacks } from './on-subscribe.ts';
import { NO_SUBSCRIBER, STATUS_WORDS, STORED } from './outcome.ts';
import { deliverP2p } from './p2p.ts';
import {
  RECORD_ACKS,
  RECORD_CONTROL,
  RECORD_HANDOFF,
  RECORD_P2P,
  RECORD_PUBLISH,
  RECORD_RESULT,
  RECORD_RETAIN,
  RECORD_RETAINED,
  RECORD_SHARED,
  readMessageRecord,
  recordKind,
  recordWantsStatus,
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
      handleMessage(shard, link, kind, word, bytes, at);
      return;
    case RECORD_ACKS:
      shard.mesh.acknowledge(link, bytes.readUInt32LE(at), flushAcks);
      return;
    case RECORD_RESULT:
      handleResult(shard, link, bytes, at, end);
      return;
    case RECORD_HANDOFF: {
      const fd = bytes.readUInt32LE(at);
      const nameEnd = at + 8 + bytes.readUInt32LE(at + 4);
      shard.counters[HANDED_OFF]!++;
      shard.adoptSocket(fd, readText(bytes, at + 8, nameEnd), bytes.subarray(nameEnd, end));
      return;
    }
    case RECORD_CONTROL:
      handleControl(shard, link, bytes, at, end);
      return;
    default:
      shard.log.error({ kind, peer: link.peer }, 'unknown record from another shard');
  }
}

function handleMessage(shard: Shard, link: Link, kind: number, word: number, bytes: Buffer, at: number): void {
  const view = shard.view;
  const fields = shard.recordFields;
  readMessageRecord(bytes, at, word, view, fields);
  // The fields are reused by anything that is sent from here on.
  const { sequence, topicHash, publisherHash, number, extraAt, extraEnd } = fields;
  const outcome = shard.outcome;
  outcome.begin(null, 0, view.qos);
  shard.kept = null;
  let idAt = extraAt;
  let idEnd = extraEnd;
  switch (kind) {
    case RECORD_P2P:
      if (extraAt === extraEnd) {
        idAt = view.topicAt + number;
        idEnd = view.topicEnd;
      }
      outcome.note(deliverP2p(shard, view, bytes, idAt, idEnd, topicHash));
      break;
    case RECORD_PUBLISH:
      deliverLocal(shard, view, routeOf(shard, bytes, view.topicAt, view.topicEnd, topicHash), null);
      if (!outcome.wasTaken && outcome.worst === 0) outcome.note(NO_SUBSCRIBER);
      break;
    case RECORD_SHARED:
      outcome.note(deliverToMember(shard, view, bytes, extraAt, extraEnd, publisherHash, topicHash));
      break;
    case RECORD_RETAIN:
      outcome.note(storeRetained(shard, view));
      break;
    default:
      takeRetained(shard, view, number, null);
      outcome.wasTaken = true;
  }
  shard.kept = null;
  if (sequence === 0) return;
  link.takenSequence = sequence;
  // Plain success needs no record of its own: the next acknowledgement says it.
  if (outcome.wasTaken && !recordWantsStatus(word)) return;
  const result = outcome.wasTaken ? outcome.taken : outcome.isStored ? STORED : outcome.worst;
  if (kind !== RECORD_P2P) idEnd = idAt;
  shard.mesh.sendResult(link, sequence, result, bytes, idAt, idEnd);
}

/** What another shard did with one of our messages. */
function handleResult(shard: Shard, link: Link, bytes: Buffer, at: number, end: number): void {
  const result = bytes.readUInt32LE(at + 4);
  const ack = shard.mesh.noteResult(link, bytes.readUInt32LE(at), result);
  if (ack !== null && ack.statuses !== null && at + 8 < end)
    ack.statuses.push(readText(bytes, at + 8, end).concat('=', STATUS_WORDS[result]!));
}

function handleControl(shard: Shard, link: Link, bytes: Buffer, at: number, end: number): void {
  const control = readControl(bytes, at, end);
  switch (control.kind) {
    case 'route':
      if (control.isWanted) shard.interest.add(control.filter, link.peer);
      else shard.interest.remove(control.filter, link.peer);
      link.routesInstalled = control.sequence;
      return;
    case 'share':
      shard.interest.setShare(control.shareName, control.filter, link.peer, control.onlineCount, control.memberCount);
      link.routesInstalled = control.sequence;
      return;
    case 'installed':
      link.routesKnownByPeer = control.sequence;
      confirmSubacks(shard);
      return;
    case 'snapshot-end':
      link.routesInstalled = control.sequence;
      link.hasSnapshot = true;
      shard.snapshotCame();
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
    case 'jumbo-taken':
      link.jumboOutstanding -= control.count;
      return;
  }
}
