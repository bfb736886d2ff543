/**
 * Publishing what the broker itself has to say (wills, events, receipts, statistics): the same routes as a client's PUBLISH, with nobody waiting for an
 * acknowledgement. Called at the end of the turn, so that it never nests in the routing of another message.
 */
import { type Message, viewMessage } from '../session/message.ts';
import { p2pKind, routeP2p } from './p2p.ts';
import { routeMessage } from './route.ts';
import type { Shard } from './shard.ts';

export function publishOwn(shard: Shard, message: Message): void {
  const view = shard.view;
  viewMessage(view, message);
  view.hasReservedUserProperties = false;
  view.hasResponseTopic = false;
  shard.outcome.begin(null, 0, view.qos);
  const kind = p2pKind(shard, view);
  if (kind === 0) routeMessage(shard, view, null);
  else routeP2p(shard, view, kind, '');
}
