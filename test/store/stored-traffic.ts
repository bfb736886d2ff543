/*
 * Sessions of every kind on a real broker, for tests of what becomes of a store, and what clients find when a broker opens it.
 */

import { itemLine } from '../../src/store/export-format.ts';
import type { LogRecord } from '../../src/store/log-reader.ts';
import { StoreContents } from '../../src/store/store-contents.ts';
import { connect, payloadText, type TestClient } from '../support/client.ts';

/** Payloads of each session, in the order of its queue, as these records have them. */
export function foldQueues(records: readonly LogRecord[]): Map<string, string[]> {
  const contents = new StoreContents();
  for (const record of records) contents.take(record);
  contents.finish();
  const queues = new Map<string, [number, string][]>();
  for (const holder of contents.holders.values()) queues.set(holder.clientId, []);
  for (const record of records) {
    for (const item of contents.liveItems(record)) {
      if (item.kind !== 'message') continue;
      const { payload } = itemLine(record.bytes, item) as { readonly payload: string };
      for (const { holder, sequence } of item.deliveries)
        queues.get(holder.clientId)!.push([sequence, Buffer.from(payload, 'base64').toString()]);
    }
  }
  const payloads = new Map<string, string[]>();
  for (const [clientId, queue] of queues)
    payloads.set(
      clientId,
      queue.sort((a, b) => a[0] - b[0]).map(([, payload]) => payload),
    );
  return payloads;
}

/** Messages that wait for `v5`. */
export const QUEUED = 30;
const STAYS = { sessionExpiryInterval: 3600 } as const;
/** Longer than any test: the Will of `mourned` is published when its session ends, and not because a machine was slow. */
const WILL_DELAY_SECONDS = 3000;

/**
 * Leaves behind: `v5` with a queue, messages of QoS 1 and 2 in flight, one of QoS 2 of which only the release is left; `v3` with a queue and a share; a publisher with a
 * QoS 2 message that it has not released; a retained message; a mailbox; `mourned` whose Will is due when its session ends, and `watcher` who wants it.
 */
export async function leaveTraffic(port: number): Promise<void> {
  const watcher = await connect(port, { clientId: 'watcher', properties: STAYS });
  await watcher.subscribe('wills/#', { qos: 1 });
  await watcher.disconnect();
  const mourned = await connect(port, {
    clientId: 'mourned',
    properties: STAYS,
    will: { topic: 'wills/mourned', payload: 'gone', qos: 1, properties: { willDelayInterval: WILL_DELAY_SECONDS } },
  });
  const v5 = await connect(port, { clientId: 'v5', properties: STAYS, username: 'alice', autoAck: false, autoComplete: false });
  await v5.subscribe('a/#', { qos: 1, properties: { subscriptionIdentifiers: [7] } });
  await v5.subscribe('b/+', { qos: 2 });
  const v3 = await connect(port, { clientId: 'v3', version: 4, cleanStart: false });
  await v3.subscribe('a/+', { qos: 1 });
  await v3.subscribe('$share/group/s/+', { qos: 1 });
  await v3.disconnect();
  const publisher = await connect(port, { clientId: 'publisher', properties: STAYS });
  await publisher.publish('b/0', 'released', { qos: 2 });
  v5.ack(await v5.next());
  await publisher.publish('a/1', 'sent at QoS 1', { qos: 1 });
  await publisher.publish('b/2', 'sent at QoS 2', { qos: 2 });
  await v5.nextMany(2);
  await v5.ping();
  await v5.disconnect();
  for (let i = 0; i < QUEUED; i++) await publisher.publish(`a/${i}`, `queued ${i}`, { qos: 1, properties: { contentType: `part ${i}` } });
  await publisher.publish('s/1', 'shared', { qos: 1 });
  await publisher.publish('kept/1', 'retained', { qos: 1, retain: true });
  await publisher.publish('kept/2', 'cleared', { qos: 1, retain: true });
  await publisher.publish('kept/2', '', { qos: 1, retain: true });
  await publisher.publish('cmd/p2p/nobody', 'for later', { qos: 1 });
  await publisher.publish('b/held', 'not released', { qos: 2, packetId: 777, release: false });
  await publisher.disconnect();
  await mourned.destroy();
}

/** A message as a client sees it. */
function seen({ topic, qos, dup, packetId, retain, properties }: TestClient['messages'][number], payload: string): unknown[] {
  return [topic, payload, qos, dup, packetId, retain, properties.subscriptionIdentifiers ?? [], properties.contentType ?? ''];
}

/** What clients find: the same before and after whatever was done to the store. */
export async function observe(port: number): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  const open = async (clientId: string, version: 4 | 5, autoAck: boolean): Promise<TestClient> => {
    const client = await connect(port, { clientId, version, cleanStart: false, autoAck, ...(version === 5 ? { properties: STAYS } : {}) });
    found[`${clientId} present`] = client.connack.sessionPresent;
    return client;
  };
  const take = async (client: TestClient, count: number): Promise<unknown[]> =>
    (await client.nextMany(count)).map((packet) => seen(packet, payloadText(packet)));

  // The publisher sends its QoS 2 message again: nobody gets it a second time, and its release is answered.
  const publisher = await open('publisher', 5, true);
  const again = await publisher.publish('b/held', 'not released', { qos: 2, packetId: 777, dup: true, release: false });
  found['sent again'] = [again.code, (await publisher.release(777)).code];
  await publisher.disconnect();

  const v5 = await open('v5', 5, true);
  found['v5'] = await take(v5, 2 + QUEUED + 1);
  await v5.ping();
  found['v5 pubrels'] = v5.pubrels.slice(0, 1);
  await v5.expectNone();
  await v5.disconnect();
  const v3 = await open('v3', 4, true);
  found['v3'] = await take(v3, 1 + QUEUED + 1);
  await v3.expectNone();
  await v3.disconnect();
  const nobody = await open('nobody', 5, true);
  found['nobody'] = await take(nobody, 1);
  await nobody.expectNone();
  await nobody.disconnect();
  const watcher = await open('watcher', 5, true);
  await watcher.expectNone();
  // Its session ends with a clean start, and its Will is due [MQTT-3.1.3-9].
  await (await connect(port, { clientId: 'mourned', cleanStart: true })).disconnect();
  found['watcher'] = await take(watcher, 1);
  await watcher.disconnect();
  const fresh = await connect(port, { clientId: 'fresh' });
  await fresh.subscribe('kept/#', { qos: 1 });
  found['retained'] = await take(fresh, 1);
  await fresh.expectNone();
  await fresh.disconnect();
  return found;
}
