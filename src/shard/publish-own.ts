/**
 * Publishing what the broker itself has to say (wills, events, receipts, statistics): the same routes as a client's PUBLISH, with nobody waiting for an
 * acknowledgement. Called at the end of the turn, so that it never nests in the routing of another message.
 */

import { hash32 } from '../base/hash.ts';
import { findResponseTopic, PropertyRange } from '../protocol/property.ts';
import { viewMessage } from '../session/message.ts';
import { routeToObservers } from './observe.ts';
import { UNSTORABLE } from './outcome.ts';
import { type OwnPublication, ownIsDone } from './own.ts';
import { p2pKind, routeP2p } from './p2p.ts';
import { speakFor } from './passing.ts';
import { routeMessage, routeToGroup } from './route.ts';
import type { Shard } from './shard.ts';

const range = new PropertyRange();

export function publishOwn(shard: Shard, own: OwnPublication): void {
  const { message, publisherId, shareKey } = own;
  const { outcome, view } = shard;
  viewMessage(view, message);
  if (shard.isWatched) speakFor(publisherId);
  outcome.begin(null, 0, view.qos);
  if (own.id !== 0) outcome.own = own;
  if (own.observed !== null) routeToObservers(shard, view, own);
  else if (shareKey !== '') {
    const slash = shareKey.indexOf('/');
    const share = shard.interest.shareOf(shareKey.substring(0, slash), shareKey.substring(slash + 1));
    shard.newMessage();
    if (share !== undefined) routeToGroup(shard, view, share, 0, hash32(view.topicBytes, view.topicAt, view.topicEnd));
    shard.newMessage();
  } else {
    const kind = p2pKind(shard, view);
    // A Will may ask what a PUBLISH may ask; only a P2P one is looked into.
    view.hasReservedUserProperties = kind !== 0;
    view.hasResponseTopic = kind !== 0 && findResponseTopic(message.bytes, message.topicEnd, message.propertiesEnd, range);
    if (kind === 0) routeMessage(shard, view, null);
    else routeP2p(shard, view, kind, publisherId, null, own.asked);
  }
  if (outcome.ack !== null && outcome.worst === UNSTORABLE) outcome.ack.worst = UNSTORABLE;
  if (outcome.ack === null || outcome.ack.remaining === 0) ownIsDone(own, outcome.worst === UNSTORABLE);
}
