/**
 * Publishing what the broker itself has to say (wills, events, receipts, statistics): the same routes as a client's PUBLISH, with nobody waiting for an
 * acknowledgement. Called at the end of the turn, so that it never nests in the routing of another message.
 */
import { findResponseTopic, PropertyRange } from '../protocol/property.ts';
import { type Message, viewMessage } from '../session/message.ts';
import { p2pKind, routeP2p } from './p2p.ts';
import { routeMessage } from './route.ts';
import type { Shard } from './shard.ts';

const range = new PropertyRange();

/** A message that waits for the end of the turn. */
export class OwnPublication {
  readonly message: Message;
  readonly publisherId: string;

  constructor(message: Message, publisherId: string) {
    this.message = message;
    this.publisherId = publisherId;
  }
}

export function publishOwn(shard: Shard, message: Message, publisherId: string): void {
  const view = shard.view;
  viewMessage(view, message);
  const kind = p2pKind(shard, view);
  // A Will may ask what a PUBLISH may ask; only a P2P one is looked into.
  view.hasReservedUserProperties = kind !== 0;
  view.hasResponseTopic = kind !== 0 && findResponseTopic(message.bytes, message.topicEnd, message.propertiesEnd, range);
  shard.outcome.begin(null, 0, view.qos);
  if (kind === 0) routeMessage(shard, view, null);
  else routeP2p(shard, view, kind, publisherId);
}
