/*
 * Goal: what the sender is told: reason codes, `p2p-status` for each target, and the end-to-end receipt.
 * Method: every status word and every receipt status is brought about once in every place.
 */
import assert from 'node:assert/strict';
import type { Properties } from '../../src/protocol/property.ts';
import { type PublishAnswer, payloadText, type TestClient, userValues } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { inEveryPlace, KEPT, oneSecond, type Place } from './p2p-places.ts';

const CORRELATION = Uint8Array.of(1, 0, 254, 255);

function asking(...names: string[]): Properties {
  return { userProperties: names.map((name) => [name, '1']) };
}

function report(sender: TestClient, clientIds: readonly string[], qos: number, payload = ''): Promise<PublishAnswer> {
  const userProperties: [string, string][] = [['p2p-report', '1'], ...clientIds.map((id): [string, string] => ['p2p-target', id])];
  return sender.publish('dev/p2p/', payload, { qos, properties: { userProperties } });
}

/** Publishes with `p2p-receipt` and the sender's own address as Response Topic. */
function withReceipt(sender: TestClient, clientId: string, qos: number, more: Properties = {}): Promise<PublishAnswer> {
  const properties = { ...asking('p2p-receipt'), responseTopic: `receipts/p2p/${sender.clientId}`, correlationData: CORRELATION, ...more };
  return sender.publish(`dev/p2p/${clientId}`, 'content', { qos, properties });
}

interface Receipt {
  readonly target: string;
  readonly status: string;
  readonly at: number;
}

/** The next message, which must be a receipt in form and with the given content. */
async function nextReceipt(
  sender: TestClient,
  target: string,
  status: string,
  correlation: Uint8Array | null = CORRELATION,
): Promise<void> {
  const packet = await sender.next();
  const { contentType, correlationData, payloadFormatIndicator } = packet.properties;
  assert.deepEqual([packet.qos, packet.retain, contentType, payloadFormatIndicator], [1, false, 'application/json', 1]);
  assert.deepEqual(correlationData === undefined ? null : Uint8Array.from(correlationData), correlation);
  const receipt = JSON.parse(payloadText(packet)) as Receipt;
  assert.deepEqual(Object.keys(receipt).sort(), ['at', 'status', 'target']);
  assert.deepEqual([receipt.target, receipt.status], [target, status]);
  assert.ok(Number.isInteger(receipt.at) && Math.abs(receipt.at - Date.now()) < 10_000, `at ${receipt.at}`);
}

/** Fails if the target's shard has sent a receipt: the answer to a message that it handles now comes behind whatever it sent before. */
async function noneUnderWay(sender: TestClient, target: TestClient): Promise<void> {
  await target.ping();
  assert.equal((await sender.publish(`dev/p2p/${target.clientId}`, 'fence', { qos: 1 })).code, 0);
  await sender.expectNone();
}

async function fill(place: Place, sender: TestClient): Promise<string> {
  const clientId = await place.offlineTarget();
  for (let n = 0; n < 3; n++) assert.equal((await sender.publish(`dev/p2p/${clientId}`, '', { qos: 1 })).code, 0);
  return clientId;
}

inEveryPlace('P2P report', { 'limits.queueMessages': 3 }, (place) => {
  for (const qos of [1, 2]) {
    place.test(`one status for each target, QoS ${qos}`, async () => {
      const sender = await place.sender();
      const [online, small, away, full] = await Promise.all([
        place.target(),
        place.target({ properties: { maximumPacketSize: 100 } }),
        place.offlineTarget(),
        fill(place, sender),
      ]);
      const nobody = place.targetId('nobody');
      const rows: readonly (readonly [string, string, number])[] = [
        [online.clientId, 'delivered', 0],
        [away, 'queued', 0],
        [nobody, 'no-session', 0x10],
        [full, 'full', 0x97],
        [small.clientId, 'too-large', 0x83],
      ];
      const payload = 'x'.repeat(100);
      for (const [clientId, word, code] of rows) {
        const one = await sender.publish(`dev/p2p/${clientId}`, payload, { qos, properties: asking('p2p-report') });
        assert.equal(one.code, code, word);
        assert.deepEqual(one.properties.userProperties, [['p2p-status', `${clientId}=${word}`]]);
        const named = await report(sender, [clientId], qos, payload);
        assert.deepEqual([named.code, named.properties.userProperties], [code, one.properties.userProperties]);
      }
      const all = await report(
        sender,
        rows.map(([clientId]) => clientId),
        qos,
        payload,
      );
      assert.equal(all.code, 0);
      const expected = rows.map(([clientId, word]) => `${clientId}=${word}`);
      assert.deepEqual(userValues(all.properties, 'p2p-status').sort(), expected.sort());
      assert.equal(all.properties.userProperties!.length, rows.length);
      const failing = await report(sender, [nobody, full, small.clientId], qos, payload);
      assert.ok([0x10, 0x97, 0x83].includes(failing.code));
      assert.equal(userValues(failing.properties, 'p2p-status').length, 3);
      assert.equal((await online.nextMany(3)).length, 3);
      await online.expectNone();
      await small.expectNone();
    });
  }

  place.test('targets on every shard each have their status', async () => {
    const sender = await place.sender();
    const ids = Array.from({ length: place.shards * 3 }, (_, i) => clientIdOn(i % place.shards, place.shards, 'any'));
    const online = await Promise.all(ids.slice(0, place.shards).map((clientId) => place.connect({ clientId })));
    const away = ids.slice(place.shards, place.shards * 2);
    for (const clientId of away) await (await place.connect({ clientId, ...KEPT })).disconnect();
    const word = (i: number): string => ['delivered', 'queued', 'no-session'][Math.floor(i / place.shards)]!;
    const answer = await report(sender, ids, 1);
    assert.equal(answer.code, 0);
    assert.deepEqual(userValues(answer.properties, 'p2p-status').sort(), ids.map((id, i) => `${id}=${word(i)}`).sort());
    for (const target of online) await target.next();
  });

  place.test('behind its window a message is queued, and the report says so', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoAck: false, properties: { receiveMaximum: 1 } })]);
    const words = [];
    for (let n = 0; n < 5; n++) words.push(...userValues((await report(sender, [target.clientId], 1)).properties, 'p2p-status'));
    assert.deepEqual(
      words,
      ['delivered', 'queued', 'queued', 'queued', 'full'].map((word) => `${target.clientId}=${word}`),
    );
  });

  place.test('nothing is reported without asking, for other values, at QoS 0, and where problem information is unwanted', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const topic = `dev/p2p/${target.clientId}`;
    for (const qos of [0, 1, 2]) {
      for (const userProperties of [[], [['p2p-report', '0']], [['p2p-report', '']], [['p2p-report', '11']], [['p2p-reports', '1']]] as [
        string,
        string,
      ][][]) {
        const answer = await sender.publish(topic, '', { qos, properties: { userProperties } });
        assert.deepEqual([answer.code, answer.properties], [0, {}]);
      }
    }
    assert.deepEqual((await sender.publish(topic, '', { qos: 0, properties: asking('p2p-report') })).properties, {});
    // [MQTT-3.1.2-29]
    const silent = await place.sender({ clientId: place.senderId('silent'), properties: { requestProblemInformation: 0 } });
    const answer = await silent.publish(topic, '', { qos: 1, properties: asking('p2p-report') });
    assert.deepEqual([answer.code, answer.properties], [0, {}]);
    await sender.ping();
  });

  place.test('acknowledgements keep the order of the PUBLISH packets, whichever shards answer', async () => {
    const sender = await place.sender();
    const targets = await Promise.all(
      Array.from({ length: place.shards }, (_, shard) => place.connect({ clientId: clientIdOn(shard, place.shards) })),
    );
    const order: number[] = [];
    const publishing = [];
    for (let n = 0; n < 100; n++) {
      const { clientId } = targets[n % targets.length]!;
      const to = n % 7 === 0 ? place.targetId('nobody') : clientId;
      publishing.push(sender.publish(`dev/p2p/${to}`, '', { qos: 1, packetId: n + 1 }).then(({ code }) => order.push(n * 1000 + code)));
    }
    await Promise.all(publishing);
    const expected = Array.from({ length: 100 }, (_, n) => n * 1000 + (n % 7 === 0 ? 0x10 : 0));
    assert.deepEqual(order, expected); // [MQTT-4.6.0-2]
  });
});

inEveryPlace('P2P report with mailboxes', { 'p2p.mailbox.enabled': true, 'p2p.mailbox.maxMessages': 1 }, (place) => {
  for (const qos of [1, 2]) {
    place.test(`a mailbox takes, then is full, QoS ${qos}`, async () => {
      const sender = await place.sender();
      const clientId = place.targetId('unborn');
      const first = await report(sender, [clientId], qos);
      assert.deepEqual([first.code, userValues(first.properties, 'p2p-status')], [0, [`${clientId}=mailbox`]]);
      const second = await report(sender, [clientId], qos);
      assert.deepEqual([second.code, userValues(second.properties, 'p2p-status')], [0x97, [`${clientId}=full`]]);
    });
  }

  place.test('a receipt for a message that waited in a mailbox', async () => {
    const sender = await place.sender();
    const clientId = place.targetId('unborn');
    assert.equal((await withReceipt(sender, clientId, 1)).code, 0);
    await sender.expectNone();
    const target = await place.connect({ clientId });
    await target.next();
    await nextReceipt(sender, clientId, 'acknowledged');
    await sender.expectNone();
  });
});

inEveryPlace('P2P receipt', { 'limits.queueMessages': 3 }, (place) => {
  place.test('acknowledged: at PUBACK and not before', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoAck: false })]);
    assert.equal((await withReceipt(sender, target.clientId, 1)).code, 0);
    const packet = await target.next();
    // The target gets the Response Topic and the Correlation Data, and not the request for a receipt.
    assert.equal(packet.properties.responseTopic, `receipts/p2p/${sender.clientId}`);
    assert.deepEqual(Uint8Array.from(packet.properties.correlationData!), CORRELATION);
    assert.equal(packet.properties.userProperties, undefined);
    await noneUnderWay(sender, target);
    target.ack(packet);
    await nextReceipt(sender, target.clientId, 'acknowledged');
    await noneUnderWay(sender, target);
  });

  place.test('acknowledged: QoS 2 at PUBCOMP, not at PUBREC', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoComplete: false })]);
    assert.equal((await withReceipt(sender, target.clientId, 2)).code, 0);
    const packet = await target.next();
    while (!target.pubrels.includes(packet.packetId)) await target.ping();
    await noneUnderWay(sender, target);
    target.complete(packet.packetId);
    await nextReceipt(sender, target.clientId, 'acknowledged');
    await noneUnderWay(sender, target);
  });

  place.test('acknowledged: to an ordinary Response Topic, without Correlation Data, by an earlier version’s target', async () => {
    for (const version of [3, 4] as const) {
      const [sender, target] = await Promise.all([place.sender(), place.target({ version, clientId: place.targetId() })]);
      const responseTopic = `receipts/of/${sender.clientId}`;
      await sender.subscribe(responseTopic, { qos: 2 });
      for (const qos of [1, 2]) {
        await withReceipt(sender, target.clientId, qos, { responseTopic, correlationData: undefined });
        await target.next();
        await nextReceipt(sender, target.clientId, 'acknowledged', null);
      }
      await sender.expectNone();
    }
  });

  place.test('acknowledged: after the target came back', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    for (const qos of [1, 2]) await withReceipt(sender, clientId, qos);
    await sender.expectNone();
    await place.connect({ clientId, ...KEPT });
    for (const _ of [1, 2]) await nextReceipt(sender, clientId, 'acknowledged');
    await sender.expectNone();
  });

  place.test('acknowledged: one receipt for each of several targets', async () => {
    const [sender, ...targets] = await Promise.all([place.sender(), place.target(), place.target(), place.sender()]);
    const userProperties: [string, string][] = [
      ['p2p-receipt', '1'],
      ...targets.map(({ clientId }): [string, string] => ['p2p-target', clientId]),
    ];
    const properties = { userProperties, responseTopic: `receipts/p2p/${sender.clientId}` };
    assert.equal((await sender.publish('dev/p2p/', '', { qos: 1, properties })).code, 0);
    const names = (await sender.nextMany(3)).map((packet) => (JSON.parse(payloadText(packet)) as Receipt).target);
    assert.deepEqual(names.sort(), targets.map(({ clientId }) => clientId).sort());
    await sender.expectNone();
  });

  place.test('dropped: the target refuses the message', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoAck: false })]);
    for (const qos of [1, 2]) {
      await withReceipt(sender, target.clientId, qos);
      target.ack(await target.next(), 0x83);
      await nextReceipt(sender, target.clientId, 'dropped');
    }
    await sender.expectNone();
  });

  place.test('dropped: the target comes back with a smaller Maximum Packet Size', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    await withReceipt(sender, clientId, 1, { contentType: 'x'.repeat(200) });
    const back = await place.connect({ clientId, ...KEPT, properties: { sessionExpiryInterval: 600, maximumPacketSize: 100 } });
    await nextReceipt(sender, clientId, 'dropped');
    await back.expectNone();
  });

  place.test('expired: the message waited too long', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    await withReceipt(sender, clientId, 1, { messageExpiryInterval: 1 });
    await oneSecond(place);
    const back = await place.connect({ clientId, ...KEPT });
    await nextReceipt(sender, clientId, 'expired');
    await back.expectNone();
    await sender.expectNone();
  });

  place.test('expired: told when it happens, not only when the target comes back', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    await withReceipt(sender, clientId, 1, { messageExpiryInterval: 1 });
    await nextReceipt(sender, clientId, 'expired');
    const back = await place.connect({ clientId, ...KEPT });
    await back.expectNone();
    await sender.expectNone();
  });

  place.test('dropped: no session, and a full queue', async () => {
    const sender = await place.sender();
    const unknown = `${sender.clientId}-unknown`;
    assert.equal((await withReceipt(sender, unknown, 1)).code, 0x10);
    await nextReceipt(sender, unknown, 'dropped');
    const full = await fill(place, sender);
    assert.equal((await withReceipt(sender, full, 2)).code, 0x97);
    await nextReceipt(sender, full, 'dropped');
    await sender.expectNone();
  });

  place.test('session-ended: by expiry, by Clean Start, by a lost connection without a session', async () => {
    const sender = await place.sender();
    const expiring = await place.offlineTarget({ properties: { sessionExpiryInterval: 1 } });
    for (const qos of [1, 2]) await withReceipt(sender, expiring, qos);
    for (const _ of [1, 2]) await nextReceipt(sender, expiring, 'session-ended');
    const cleaned = await place.offlineTarget();
    await withReceipt(sender, cleaned, 1);
    await place.connect({ clientId: cleaned, cleanStart: true });
    await nextReceipt(sender, cleaned, 'session-ended');
    const brief = await place.target({ autoAck: false });
    for (const qos of [1, 2]) await withReceipt(sender, brief.clientId, qos);
    await brief.nextMany(2);
    await brief.destroy();
    for (const _ of [1, 2]) await nextReceipt(sender, brief.clientId, 'session-ended');
    await sender.expectNone();
  });

  place.test('QoS 0, other values and a missing Response Topic bring no receipt', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const other = { correlationData: Uint8Array.of(9) };
    await withReceipt(sender, target.clientId, 0, other);
    for (const qos of [1, 2]) {
      await withReceipt(sender, target.clientId, qos, { ...other, responseTopic: undefined });
      await withReceipt(sender, target.clientId, qos, { ...other, userProperties: [['p2p-receipt', '0']] });
      await withReceipt(sender, target.clientId, qos, { ...other, userProperties: undefined });
    }
    await target.nextMany(7);
    // A receipt that is due comes behind any that would be wrong.
    await withReceipt(sender, target.clientId, 1);
    await nextReceipt(sender, target.clientId, 'acknowledged');
    await sender.expectNone();
  });

  place.test('report and receipt together', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const answer = await withReceipt(sender, target.clientId, 2, asking('p2p-report', 'p2p-receipt'));
    assert.deepEqual(userValues(answer.properties, 'p2p-status'), [`${target.clientId}=delivered`]);
    await nextReceipt(sender, target.clientId, 'acknowledged');
  });
});

inEveryPlace('P2P receipt with queue.overflow: drop-oldest', { 'queue.overflow': 'drop-oldest', 'limits.queueMessages': 2 }, (place) => {
  place.test('dropped: a newer message took its place', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    for (const qos of [1, 2]) await withReceipt(sender, clientId, qos);
    await sender.expectNone();
    for (const qos of [1, 2]) {
      assert.equal((await sender.publish(`dev/p2p/${clientId}`, '', { qos })).code, 0);
      await nextReceipt(sender, clientId, 'dropped');
    }
    await sender.expectNone();
  });
});
