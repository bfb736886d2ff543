/*
 * A drain: everybody connects, takes what there is, and answers at once, until nothing is left anywhere. Then what is still owed is lost.
 */
import type { Checker } from './checker.ts';
import type { Conditions } from './conditions.ts';
import { type Member, TOPICS } from './member.ts';

/**
 * @param present members with sessions; `herald` is one of them and publishes what marks the end
 * @returns whether it came to an end
 */
export async function drain(
  port: number,
  present: readonly Member[],
  herald: Member,
  checker: Checker,
  conditions: Conditions,
): Promise<boolean> {
  const clients = present.map(({ client }) => client);
  for (const client of clients) {
    client.isPrompt = true;
    client.answerAll();
  }
  const opened = await Promise.all(clients.map((client) => client.open(port)));
  opened.forEach((isOpen, index) => {
    if (!isOpen) checker.violate(`${clients[index]!.clientId} cannot connect: ${clients[index]!.closingCode ?? 'closed'}`);
  });
  const isSettled = (): boolean => clients.every(({ outgoing }) => outgoing.length === 0);
  await conditions.until('every message is acknowledged', clients, isSettled);
  // What a session holds comes in the order in which it came, so behind these nothing is left.
  for (let topic = 0; topic < TOPICS; topic++) herald.publish(2, `crash/${topic}`, undefined, 40, false);
  const marks: (readonly [string, string])[] = [];
  for (const { clientId } of clients)
    for (const qos of [1, 2] as const) marks.push([herald.publish(qos, `cmd/p2p/${clientId}`, clientId, 40, false), clientId]);
  const isDrained = (): boolean =>
    isSettled() && clients.every(({ held }) => held.size === 0) && marks.every(([id, clientId]) => checker.hasArrived(id, clientId));
  const isCut = await conditions.until('the last message reaches everybody', clients, isDrained);
  if (isCut) return false;
  await Promise.all(clients.map((client) => client.ping()));
  checker.drained(clients.map(({ clientId }) => clientId));
  return true;
}
