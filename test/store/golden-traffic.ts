/*
 * What the golden store holds, and what clients must find in it for ever: every kind of thing that a store can keep. `make-golden.ts` leaves it behind, `golden.test.ts`
 * looks for it. The Client Identifiers lie on all of three shards.
 *
 * Whatever must still be there lasts more than a century. What is named `expired` or `due` was so a minute after the store had been made.
 */
import assert from 'node:assert/strict';
import type { Properties } from '../../src/protocol/property.ts';
import type { PublishPacket } from '../../src/protocol/publish.ts';
import { type ConnectOptions, connect, payloadText, type TestClient } from '../support/client.ts';
import { shardOfClientId } from '../support/placement.ts';

export const GOLDEN_SHARDS = 3;
/** Settings without which a part of it cannot be, or does not last. */
export const GOLDEN_OPTIONS = { 'p2p.mailbox.enabled': true, 'p2p.mailbox.ttl': 'never' } as const;
/** Some 126 years. */
const FAR_SECONDS = 4_000_000_000;
const SOON_SECONDS = 60;
/** Seconds that making may take. */
const MAKING_SECONDS = 30;

const FOREVER: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 0xffffffff } };
const LONG: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: FAR_SECONDS } };
const BY_HAND = { autoAck: false, autoComplete: false } as const;

/** All that travels with a message. */
const ALL: Properties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: FAR_SECONDS,
  contentType: 'text/plain; charset=utf-8',
  responseTopic: 'answers/here',
  correlationData: Buffer.from([0, 1, 127, 128, 255]),
  userProperties: [
    ['key', 'one'],
    ['key', 'two'],
    ['', 'ü\u{1f600}'],
  ],
};
export const LARGE: string = 'large '.repeat(1500);
const LEFT: readonly string[] = ['left-0', 'left-1', 'left-2'];

/** Publications that only a broker that dies at one moment leaves behind; `make-golden.ts` writes them as such a broker would. */
export const DUE = { topic: 'receipts/own', payload: 'a receipt that was due' } as const;
export const BACK = { topic: 'shared/back', payload: 'taken back for its group', shareKey: 'group/shared/+' } as const;
export const KNOWN = { clientId: 'twice', publisher: 'sender', packetId: 999, topic: 'twice/2', payload: 'had before the crash' } as const;

async function publishAll(client: TestClient, messages: readonly (readonly [string, string, number, Properties?])[]): Promise<void> {
  for (const [topic, payload, qos, properties] of messages)
    assert.equal((await client.publish(topic, payload, { qos, properties: properties ?? {} })).code, 0);
}

/** A session with subscriptions whose client has gone. */
async function leaveSession(
  port: number,
  clientId: string,
  filter: string,
  options: object,
  more: ConnectOptions = FOREVER,
): Promise<void> {
  const client = await connect(port, { clientId, ...more });
  await client.subscribe(filter, options);
  await client.disconnect();
}

/** Leaves everything behind; the caller kills the broker. */
export async function leaveGolden(port: number): Promise<void> {
  const names = ['device-5', 'device-4', 'device-3', 'sender', 'mourner', 'receipts', 'sleeper', 'newcomer', 'member', 'mourned'];
  assert.equal(new Set(names.map((name) => shardOfClientId(name, GOLDEN_SHARDS))).size, GOLDEN_SHARDS);
  assert.deepEqual([...LEFT.map((name) => shardOfClientId(name, GOLDEN_SHARDS))].sort(), [0, 1, 2]);

  await leaveSession(port, 'receipts', 'receipts/#', { qos: 1 });
  await leaveSession(port, 'mourner', 'wills/+', { qos: 2, retainAsPublished: true });
  await leaveSession(port, 'member', '$share/group/shared/+', { qos: 1, properties: { subscriptionIdentifiers: [9] } });
  await leaveSession(port, 'sleeper', 'unused', { qos: 0 }, LONG);
  await leaveSession(port, 'twice', 'twice/+', { qos: 2 });
  await leaveSession(port, 'once', 'twice/+', { qos: 2 });
  await leaveSession(port, 'expired', 'in/+/a', { qos: 1 }, { cleanStart: false, properties: { sessionExpiryInterval: SOON_SECONDS } });
  await leaveSession(port, 'ended', 'in/+/a', { qos: 1 });
  await (await connect(port, { clientId: 'ended', cleanStart: true })).disconnect();
  await leaveSession(port, 'device-3', 'in/+/a', { qos: 2 }, { version: 3, cleanStart: false, username: 'old' });

  const will = {
    topic: 'wills/later',
    payload: 'gone for good',
    qos: 2,
    retain: true,
    properties: { ...ALL, willDelayInterval: FAR_SECONDS },
  };
  const mourned = await connect(port, { clientId: 'mourned', ...FOREVER, will });
  const due = { topic: 'wills/due', payload: 'gone', qos: 1, properties: { willDelayInterval: SOON_SECONDS } };
  const mournedSoon = await connect(port, { clientId: 'mourned-due', ...FOREVER, will: due });
  const atOnce = { topic: 'wills/now', payload: 'gone now', qos: 1 };
  const mournedNow = await connect(port, { clientId: 'mourned-now', ...FOREVER, will: atOnce });
  await Promise.all([mourned.destroy(), mournedSoon.destroy(), mournedNow.destroy()]);

  // In flight: released, sent at QoS 1, sent at QoS 2, all while the receivers are there.
  const five = await connect(port, { clientId: 'device-5', ...FOREVER, ...BY_HAND, username: 'alice' });
  await five.subscribe([
    { filter: 'in/+/a', qos: 2 },
    { filter: 'plain/+', qos: 2 },
    { filter: 'gone/#', qos: 1 },
  ]);
  await five.subscribe('opts/#', {
    qos: 1,
    noLocal: true,
    retainAsPublished: true,
    retainHandling: 2,
    properties: { subscriptionIdentifiers: [268_435_455] },
  });
  await five.subscribe('plain/+', { qos: 0, retainHandling: 1, properties: { subscriptionIdentifiers: [1] } });
  await five.unsubscribe('gone/#');
  const four = await connect(port, { clientId: 'device-4', version: 4, cleanStart: false, username: 'bob', ...BY_HAND });
  await four.subscribe('in/+/a', { qos: 1 });
  const sender = await connect(port, { clientId: 'sender', ...FOREVER });
  await publishAll(sender, [['in/released/a', 'released', 2]]);
  five.ack(await five.next());
  await five.ping();
  assert.deepEqual(five.pubrels, [1]);
  await publishAll(sender, [
    ['in/sent1/a', 'sent at QoS 1', 1, ALL],
    ['in/sent2/a', 'sent at QoS 2', 2],
  ]);
  await five.nextMany(2);
  await four.nextMany(3);
  // What is acknowledged is gone.
  four.ack(four.messages[0]!);
  await four.ping();
  await Promise.all([five.disconnect(), four.disconnect()]);

  // Waiting; of these the client gets two more, which are in flight then. The window has one that is released, and four.
  await publishAll(sender, [
    ['in/queued/a', 'queued 0', 1, ALL],
    ['in/queued/a', 'queued 1', 2],
  ]);
  const again = await connect(port, {
    clientId: 'device-5',
    ...BY_HAND,
    cleanStart: false,
    username: 'alice',
    properties: { sessionExpiryInterval: 0xffffffff, receiveMaximum: 5 },
  });
  await again.nextMany(4);
  await again.ping();
  await again.disconnect();
  await publishAll(sender, [
    ['in/queued/a', 'queued 2', 2, ALL],
    ['in/queued/a', '', 1],
    ['in/expired/a', 'too late', 1, { messageExpiryInterval: SOON_SECONDS }],
    ['in/large/a', LARGE, 1],
  ]);
  await sender.publish('opts/kept', 'with an identifier', { qos: 2, retain: true });
  await sender.publish('in/held/a', 'not released', { qos: 2, packetId: 777, release: false });
  await sender.publish('in/done/a', 'released', { qos: 2, packetId: 778 });
  await publishAll(sender, [
    ['twice/1', 'once', 2],
    ['shared/1', 'for one of a group', 1, ALL],
  ]);

  const p2p = (number: string): Properties => ({
    ...ALL,
    responseTopic: `receipts/${number}`,
    userProperties: [
      ['p2p-receipt', '1'],
      ['kept', number],
    ],
  });
  await publishAll(sender, [
    ['cmd/p2p/sleeper', 'wake up', 1, p2p('sleeper')],
    ['cmd/p2p/newcomer', 'first', 1, p2p('newcomer')],
    ['cmd/p2p/newcomer', 'second', 2],
  ]);

  for (const [number, qos] of [0, 1, 2, 0, 1, 2].entries())
    await sender.publish(`kept/${number}`, `retained ${number}`, { qos, retain: true, properties: number < 3 ? ALL : {} });
  await sender.publish('kept/1', 'retained anew', { qos: 1, retain: true });
  for (const payload of ['cleared', '']) await sender.publish('kept/cleared', payload, { qos: 1, retain: true });
  await sender.publish('kept/expired', 'too late', { qos: 1, retain: true, properties: { messageExpiryInterval: SOON_SECONDS } });
  await sender.disconnect();

  // They are connected when the broker dies. Each has its own shard, and its CONNACK waits for all that this shard has to write.
  for (const clientId of LEFT) {
    const left = { topic: 'wills/left', payload: clientId, properties: { willDelayInterval: FAR_SECONDS } };
    await connect(port, { clientId, ...FOREVER, will: left });
  }
}

/** The time of expiry in words: the same in every year. */
function expiryWord(seconds: number | undefined, madeAt: number): string {
  if (seconds === undefined) return 'never';
  const left = FAR_SECONDS - (Date.now() - madeAt) / 1000;
  return Math.abs(seconds - left) <= MAKING_SECONDS ? 'far' : `${seconds} s, not ${left} s`;
}

/** A message as its receiver sees it. */
function seen(packet: PublishPacket, madeAt: number): unknown[] {
  const { topic, qos, dup, retain, packetId, properties } = packet;
  const { messageExpiryInterval, correlationData, ...plain } = properties;
  const more = {
    ...plain,
    ...(correlationData === undefined ? {} : { correlationData: [...correlationData] }),
    ...(messageExpiryInterval === undefined ? {} : { expires: expiryWord(messageExpiryInterval, madeAt) }),
  };
  const marks = [
    `QoS ${qos}`,
    ...(packetId > 0 ? [`identifier ${packetId}`] : []),
    ...(dup ? ['again'] : []),
    ...(retain ? ['retained'] : []),
  ];
  return [topic, payloadText(packet), marks.join(', '), ...(Object.keys(more).length === 0 ? [] : [more])];
}

/**
 * What clients find. It is not there any more afterwards.
 * @param madeAt wall time of the last record of the store
 */
export async function observeGolden(port: number, madeAt: number): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  const open = async (clientId: string, options: ConnectOptions = FOREVER): Promise<TestClient> => {
    const client = await connect(port, { clientId, ...options });
    found[`${clientId}: session`] = client.connack.sessionPresent;
    return client;
  };
  const take = async (client: TestClient, name: string, count: number): Promise<void> => {
    found[name] = (await client.nextMany(count)).map((packet) => seen(packet, madeAt));
    await client.expectNone();
  };

  // The publisher sends again what it has had no end of. Who has it gets it no second time.
  const sender = await open('sender');
  const again = async (topic: string, payload: string, packetId: number): Promise<number[]> => {
    const { code } = await sender.publish(topic, payload, { qos: 2, packetId, dup: true, release: false });
    return [code, (await sender.release(packetId)).code];
  };
  found['sender: held'] = await again('in/held/a', 'not released', 777);
  found['sender: known'] = await again(KNOWN.topic, KNOWN.payload, KNOWN.packetId);
  const twice = await open('twice');
  await take(twice, 'twice: messages', 2);
  const once = await open('once');
  await take(once, 'once: messages', 2);

  const five = await open('device-5', { ...FOREVER, username: 'alice' });
  await take(five, 'device-5: messages', 10);
  found['device-5: released'] = five.pubrels[0];
  // Its subscriptions are as it made them.
  await sender.publish('opts/new', 'by another', { qos: 2, retain: true });
  await five.publish('opts/new', 'by itself', { qos: 1 });
  await sender.publish('plain/new', 'plain', { qos: 2, retain: true });
  await sender.publish('gone/new', 'to nobody', { qos: 1 });
  await take(five, 'device-5: new messages', 2);

  const four = await open('device-4', { version: 4, cleanStart: false });
  await take(four, 'device-4: messages', 9);
  const three = await open('device-3', { version: 3, cleanStart: false });
  await take(three, 'device-3: messages', 10);

  const member = await open('member');
  await take(member, 'member: messages', 2);
  const newcomer = await open('newcomer', { cleanStart: true });
  await take(newcomer, 'newcomer: messages', 2);
  const sleeper = await open('sleeper', LONG);
  await take(sleeper, 'sleeper: messages', 1);
  const receipts = await open('receipts');
  const came = (await receipts.nextMany(3)).map((packet) => [
    packet.topic,
    payloadText(packet).replace(/"at":\d+/, '"at":…'),
    packet.properties.correlationData === undefined ? [] : [...packet.properties.correlationData],
  ]);
  found['receipts: messages'] = came.sort();
  await receipts.expectNone();

  const mourner = await open('mourner');
  await take(mourner, 'mourner: wills', 2);
  // The session ends, and its Will does not wait any longer.
  await (await connect(port, { clientId: 'mourned', cleanStart: true })).disconnect();
  found['mourner: will of a session that ends'] = seenFresh(await mourner.next());
  await mourner.expectNone();

  for (const clientId of LEFT) await (await open(clientId)).expectNone();
  await (await open('mourned-due')).expectNone();
  await (await open('expired')).expectNone();
  await (await open('ended')).expectNone();

  const fresh = await connect(port, { clientId: 'fresh' });
  await fresh.subscribe('kept/#', { qos: 2 });
  const retained = (await fresh.nextMany(6)).map((packet) => seen({ ...packet, packetId: 0 }, madeAt));
  found['retained'] = retained.sort((a, b) => String(a[0]).localeCompare(String(b[0])));
  await fresh.expectNone();
  return found;
}

/** A Will whose expiry begins when it is published. */
function seenFresh(packet: PublishPacket): unknown[] {
  return seen(packet, Date.now());
}
