/*
 * Goal: what the target receives: the message as published, at the publisher's QoS, with its properties, in order, within the receiver's limits.
 * Method: real clients in every place; what arrives is compared field by field with what was sent.
 */
import assert from 'node:assert/strict';
import type { Properties } from '../../src/protocol/property.ts';
import { payloadText, type TestClient, userValues } from '../support/client.ts';
import { inEveryPlace, KEPT, nextDrop, oneSecond, type Place } from './p2p-places.ts';

/** Every property that a client may put on a PUBLISH and that travels to the receiver. */
const TRAVELLING: Properties = {
  payloadFormatIndicator: 1,
  contentType: 'text/plain; charset=utf-8',
  responseTopic: 'replies/to/me',
  correlationData: Uint8Array.of(0, 255, 1, 254),
  userProperties: [
    ['b', '2'],
    ['a', '1'],
    ['b', '1'],
    ['', ''],
    ['P2P-case', 'stays'],
    ['xp2p-target', 'stays'],
    ['p2p', 'stays'],
  ],
};

/** What a packet shows of the properties above. */
function shown(properties: Properties): Properties {
  const { payloadFormatIndicator, contentType, responseTopic, correlationData, userProperties } = properties;
  const data = correlationData === undefined ? undefined : Uint8Array.from(correlationData);
  return { payloadFormatIndicator, contentType, responseTopic, correlationData: data, userProperties };
}

/** A sender and a target that is there and one that comes back to what waited. */
async function arrivals(place: Place, send: (sender: TestClient, topic: string) => Promise<unknown>): Promise<TestClient[]> {
  const [sender, online, away] = await Promise.all([place.sender(), place.target(), place.offlineTarget()]);
  await send(sender, `dev/p2p/${online.clientId}`);
  await send(sender, `dev/p2p/${away}`);
  return [online, await place.connect({ clientId: away, ...KEPT })];
}

inEveryPlace('P2P delivery', { 'limits.queueMessages': 5000 }, (place) => {
  place.test('topic as published, QoS as published, RETAIN 0, DUP 0, whatever the publisher set', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const topic = `any first/p2p/${target.clientId}`;
    for (const qos of [0, 1, 2]) {
      await sender.publish(topic, `${qos}`, { qos, retain: true, dup: qos > 0 });
      const packet = await target.next();
      const { retain, dup } = packet;
      assert.deepEqual([packet.topic, payloadText(packet), packet.qos, retain, dup], [topic, `${qos}`, qos, false, false]);
      assert.deepEqual(packet.properties, {});
    }
    await target.expectNone();
  });

  place.test('no subscription is consulted: one copy, its QoS, no Subscription Identifier', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const topic = `dev/p2p/${target.clientId}`;
    const filters = ['#', 'dev/#', 'dev/+/+', topic, `+/p2p/${target.clientId}`];
    for (const [index, filter] of filters.entries()) {
      const { codes } = await target.subscribe(filter, { qos: 0, properties: { subscriptionIdentifiers: [index + 1] } });
      assert.deepEqual(codes, [0], filter);
    }
    for (const qos of [0, 1, 2]) await sender.publish(topic, `${qos}`, { qos });
    const packets = (await target.nextMany(3)).map((packet) => [
      payloadText(packet),
      packet.qos,
      packet.properties.subscriptionIdentifiers,
    ]);
    assert.deepEqual(
      packets,
      [0, 1, 2].map((qos) => [`${qos}`, qos, undefined]),
    );
    await target.expectNone();
  });

  for (const qos of [0, 1, 2]) {
    place.test(`MQTT 5 properties travel, p2p- User Properties do not, QoS ${qos}`, async () => {
      const userProperties: [string, string][] = [['p2p-report', '1'], ...TRAVELLING.userProperties!, ['p2p-', ''], ['p2p-other', 'x']];
      userProperties.splice(3, 0, ['p2p-receipt', '0']);
      const properties = { ...TRAVELLING, userProperties, messageExpiryInterval: 1000 };
      const clients = await arrivals(place, (sender, topic) => sender.publish(topic, 'ü', { qos, properties }));
      for (const client of qos === 0 ? clients.slice(0, 1) : clients) {
        const packet = await client.next();
        assert.deepEqual(shown(packet.properties), TRAVELLING);
        const expiry = packet.properties.messageExpiryInterval!;
        assert.ok(expiry <= 1000 && expiry > 900, `Message Expiry Interval ${expiry}`);
        assert.equal(packet.properties.topicAlias, undefined);
      }
    });
  }

  for (const [from, to] of [
    [3, 5],
    [4, 5],
    [5, 4],
    [5, 3],
    [4, 3],
  ] as const) {
    place.test(`from version ${from} to version ${to}`, async () => {
      const sender = await place.sender({ version: from, clientId: place.senderId() });
      const target = await place.target({ version: to, clientId: place.targetId() });
      const properties = from === 5 ? TRAVELLING : {};
      for (const qos of [0, 1, 2]) await sender.publish(`dev/p2p/${target.clientId}`, `${qos}`, { qos, properties });
      const packets = await target.nextMany(3);
      assert.deepEqual(
        packets.map((packet) => [payloadText(packet), packet.qos, packet.retain]),
        [0, 1, 2].map((qos) => [`${qos}`, qos, false]),
      );
      for (const packet of packets) assert.deepEqual(packet.properties, {});
      await target.expectNone();
    });
  }

  place.test('Message Expiry Interval is reduced by the time that the message waited', async () => {
    const [sender, away] = await Promise.all([place.sender(), place.offlineTarget()]);
    // The other target is there, with a window of one message that it does not acknowledge.
    const busy = await place.target({ autoAck: false, properties: { receiveMaximum: 1 } });
    const topics = [`dev/p2p/${away}`, `dev/p2p/${busy.clientId}`];
    await sender.publish(topics[1]!, 'first', { qos: 1 });
    const sentAt = performance.now();
    for (const topic of topics) await sender.publish(topic, 'waits', { qos: 1, properties: { messageExpiryInterval: 100 } });
    const first = await busy.next();
    await oneSecond(place);
    busy.ack(first);
    const back = await place.connect({ clientId: away, ...KEPT });
    for (const client of [busy, back]) {
      const packet = await client.next();
      const passed = Math.ceil((performance.now() - sentAt) / 1000);
      assert.equal(payloadText(packet), 'waits');
      const expiry = packet.properties.messageExpiryInterval!;
      assert.ok(expiry < 100 && expiry >= 100 - passed, `${expiry} after at most ${passed} s`);
    }
  });

  place.test('a message that expires while it waits is not delivered', async () => {
    const [sender, away] = await Promise.all([place.sender(), place.offlineTarget()]);
    const topic = `dev/p2p/${away}`;
    assert.equal((await sender.publish(topic, 'gone', { qos: 1, properties: { messageExpiryInterval: 1 } })).code, 0);
    assert.equal((await sender.publish(topic, 'stays', { qos: 1 })).code, 0);
    const before = place.count('publish/dropped/expired');
    await oneSecond(place);
    const back = await place.connect({ clientId: away, ...KEPT });
    assert.equal(payloadText(await back.next()), 'stays');
    await back.expectNone();
    assert.ok(place.count('publish/dropped/expired') > before);
  });

  place.test('a client may publish to itself', async () => {
    for (const version of [3, 4, 5] as const) {
      const self = await place.target({ version, clientId: place.targetId() });
      await self.subscribe(`dev/p2p/${self.clientId}`, { noLocal: version === 5 });
      for (const qos of [0, 1, 2]) assert.equal((await self.publish(`dev/p2p/${self.clientId}`, `${qos}`, { qos })).code, 0);
      assert.deepEqual((await self.nextMany(3)).map(payloadText), ['0', '1', '2']);
      await self.expectNone();
    }
  });

  place.test('RETAIN 1 stores nothing', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const topic = `keep/p2p/${target.clientId}`;
    for (const qos of [0, 1, 2]) await sender.publish(topic, 'kept?', { qos, retain: true });
    await target.nextMany(3);
    assert.equal(place.count('retained/count'), 0);
    const late = await place.target();
    for (const filter of ['#', 'keep/#', 'keep/+/+']) await late.subscribe(filter);
    await late.expectNone();
    await target.subscribe(topic);
    await target.expectNone();
  });

  place.test('by Topic Alias, and to a client that allows aliases', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ properties: { topicAliasMaximum: 4 } })]);
    const topic = `dev/p2p/${target.clientId}`;
    await sender.publish(topic, '0', { qos: 1, properties: { topicAlias: 7 } });
    for (const qos of [0, 1, 2]) await sender.publish('', `${qos + 1}`, { qos, properties: { topicAlias: 7 } });
    const packets = await target.nextMany(4);
    assert.deepEqual(
      packets.map((packet) => [packet.topic, payloadText(packet)]),
      [0, 1, 2, 3].map((n) => [topic, `${n}`]),
    );
    // The alias of the sender means nothing to the target; what it gets is the broker's own numbering.
    assert.deepEqual(
      packets.map((packet) => packet.properties.topicAlias),
      [1, 1, 1, 1],
    );
  });

  for (const qos of [0, 1, 2]) {
    place.test(`a Will to a P2P topic, QoS ${qos}`, async () => {
      const [target, away] = await Promise.all([place.target(), place.offlineTarget()]);
      for (const clientId of [target.clientId, away]) {
        const userProperties: [string, string][] = [['p2p-report', '1'], ...TRAVELLING.userProperties!];
        const properties = { ...TRAVELLING, userProperties, messageExpiryInterval: 500 };
        const lost = await place.sender({ will: { topic: `last/p2p/${clientId}`, payload: 'gone', qos, retain: true, properties } });
        await lost.destroy();
        if (clientId === target.clientId) await target.ping();
      }
      const packet = await target.next();
      assert.deepEqual([packet.topic, payloadText(packet), packet.qos, packet.retain], [`last/p2p/${target.clientId}`, 'gone', qos, false]);
      assert.deepEqual(shown(packet.properties), TRAVELLING);
      assert.ok(packet.properties.messageExpiryInterval! <= 500);
      await target.expectNone();
      if (qos > 0) {
        // The Will of a lost connection has no acknowledgement to wait for: the client that comes back waits for the message.
        const back = await place.connect({ clientId: away, ...KEPT });
        assert.deepEqual(shown((await back.next()).properties), TRAVELLING);
      }
      assert.equal(place.count('retained/count'), 0);
    });
  }

  place.test('a Will to p2p-target targets', async () => {
    const targets = await Promise.all([place.target({ clientId: place.targetId('t', '+') }), place.target()]);
    const userProperties: [string, string][] = targets.map(({ clientId }) => ['p2p-target', clientId]);
    const lost = await place.sender({ will: { topic: 'last/p2p/', payload: 'gone', qos: 1, properties: { userProperties } } });
    await lost.destroy();
    for (const target of targets) {
      const packet = await target.next();
      assert.deepEqual([packet.topic, payloadText(packet), packet.properties], ['last/p2p/', 'gone', {}]);
    }
  });

  place.test('a delayed Will to a P2P topic comes after its delay', async () => {
    const milliseconds = await oneSecond(place);
    assert.ok(milliseconds >= 950, `${milliseconds} ms`);
  });

  place.test('a delayed Will is not sent when the client is back in time', async () => {
    const [target, sender] = await Promise.all([place.target(), place.sender()]);
    const clientId = place.senderId('back');
    const will = { topic: `last/p2p/${target.clientId}`, payload: 'gone', qos: 1, properties: { willDelayInterval: 1 } };
    const lost = await place.connect({ clientId, ...KEPT, will });
    await lost.destroy();
    const back = await place.connect({ clientId, ...KEPT });
    assert.equal(back.connack.sessionPresent, true);
    await oneSecond(place);
    await sender.publish(`last/p2p/${target.clientId}`, 'fence', { qos: 1 });
    assert.equal(payloadText(await target.next()), 'fence');
  });

  place.test('Receive Maximum of the target holds', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoAck: false, properties: { receiveMaximum: 2 } })]);
    const topic = `dev/p2p/${target.clientId}`;
    for (let n = 0; n < 6; n++) assert.equal((await sender.publish(topic, `${n}`, { qos: 1 + (n % 2) })).code, 0);
    for (let n = 0; n < 6; n++) {
      await target.ping();
      assert.equal(target.messages.length, Math.min(6, n + 2));
      const packet = await target.next();
      assert.equal(payloadText(packet), `${n}`);
      target.ack(packet);
      if (packet.qos === 2) while (!target.pubrels.includes(packet.packetId)) await target.ping();
    }
    await target.expectNone();
  });

  place.test('Maximum Packet Size of the target holds: dropped for it, counted, told in the report', async () => {
    const [sender, small, large] = await Promise.all([
      place.sender(),
      place.target({ properties: { maximumPacketSize: 200 } }),
      place.target(),
    ]);
    const payload = 'x'.repeat(200);
    const report: [string, string] = ['p2p-report', '1'];
    const topic = `dev/p2p/${small.clientId}`;
    for (const qos of [0, 1, 2]) {
      const before = place.count('publish/dropped/too-large');
      const { code, properties } = await sender.publish(topic, payload, { qos, properties: { userProperties: [report] } });
      // PUBACK and PUBREC cannot carry 0x95 Packet too large (section 3.4.2.1): the words say it.
      assert.equal(code, qos === 0 ? 0 : 0x83);
      assert.deepEqual(userValues(properties, 'p2p-status'), qos === 0 ? [] : [`${small.clientId}=too-large`]);
      await sender.publish(topic, 'small', { qos: 1 });
      assert.equal(payloadText(await small.next()), 'small');
      assert.ok(place.count('publish/dropped/too-large') > before);
    }
    const both: [string, string][] = [small, large].map(({ clientId }) => ['p2p-target', clientId]);
    const { code, properties } = await sender.publish('dev/p2p/', payload, { qos: 1, properties: { userProperties: [report, ...both] } });
    assert.equal(code, 0);
    assert.deepEqual(userValues(properties, 'p2p-status').sort(), [`${small.clientId}=too-large`, `${large.clientId}=delivered`].sort());
    assert.equal((await large.next()).payload.length, 200);
    await small.expectNone();
  });

  place.test('1,000 messages of each QoS arrive once and in order', async () => {
    const [target, ...senders] = await Promise.all([place.target(), place.sender(), place.sender()]);
    const topic = `dev/p2p/${target.clientId}`;
    const rounds = 10;
    const perRound = 100;
    const publishing = senders.map(async (sender) => {
      for (let round = 0; round < rounds; round++) {
        const answers = [];
        for (let n = 0; n < perRound; n++) {
          for (const qos of [0, 1, 2]) answers.push(sender.publish(topic, `${sender.clientId} ${round * perRound + n}`, { qos }));
        }
        for (const { code } of await Promise.all(answers)) assert.equal(code, 0);
      }
    });
    await Promise.all(publishing);
    const packets = await target.nextMany(senders.length * 3 * rounds * perRound);
    for (const sender of senders) {
      for (const qos of [0, 1, 2]) {
        const texts = packets
          .filter((packet) => packet.qos === qos && payloadText(packet).startsWith(`${sender.clientId} `))
          .map(payloadText);
        const expected = Array.from({ length: rounds * perRound }, (_, n) => `${sender.clientId} ${n}`);
        assert.deepEqual(texts, expected, `QoS ${qos}`);
      }
    }
    await target.expectNone();
  });

  place.test('1,500 messages to many targets that come and go arrive in order, none of QoS 1 and 2 is lost', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => place.offlineTarget()));
    const sender = await place.sender();
    const publish = async (from: number, to: number): Promise<void> => {
      const answers = [];
      for (let n = from; n < to; n++) for (const id of ids) answers.push(sender.publish(`dev/p2p/${id}`, `${n}`, { qos: 1 + (n % 2) }));
      for (const { code } of await Promise.all(answers)) assert.equal(code, 0);
    };
    await publish(0, 100);
    const [back] = await Promise.all([Promise.all(ids.map((clientId) => place.connect({ clientId, ...KEPT }))), publish(100, 200)]);
    await publish(200, 300);
    for (const target of back) {
      const texts = (await target.nextMany(300)).map((packet) => [packet.qos, Number(payloadText(packet))] as const);
      for (const qos of [1, 2]) {
        const expected = Array.from({ length: 150 }, (_, n) => n * 2 + qos - 1);
        assert.deepEqual(
          texts.filter(([of]) => of === qos).map(([, n]) => n),
          expected,
        );
      }
      await target.expectNone();
    }
  });
});

inEveryPlace(
  'P2P to a slow client',
  { 'limits.outboundBytes': 65_536, 'limits.inflight': 65_535, 'limits.queueBytes': '64MiB' },
  (place) => {
    place.test('over limits.outboundBytes QoS 0 is dropped and counted, QoS 1 waits and arrives', async () => {
      const [sender, target, watcher] = await Promise.all([place.sender(), place.target(), place.sender()]);
      await watcher.subscribe('$events/message_dropped');
      target.pauseReading();
      const topic = `dev/p2p/${target.clientId}`;
      const payload = new Uint8Array(200_000);
      const properties: Properties = { userProperties: [['p2p-report', '1']] };
      let sent = 0;
      for (let status = ''; status !== `${target.clientId}=queued`; sent++) {
        assert.ok(sent < 250, 'nothing was ever queued');
        const answer = await sender.publish(topic, payload, { qos: 1, properties });
        assert.equal(answer.code, 0);
        status = userValues(answer.properties, 'p2p-status')[0]!;
      }
      const before = place.count('publish/dropped/outbound-full');
      await sender.publish(topic, 'dropped', { qos: 0 });
      assert.deepEqual(await nextDrop(watcher, target.clientId), { reason: 'outbound_full', topic, qos: 0 });
      assert.ok(place.count('publish/dropped/outbound-full') > before);
      await sender.publish(topic, 'last', { qos: 1 });
      target.resumeReading();
      const packets = await target.nextMany(sent + 1);
      assert.equal(payloadText(packets.pop()!), 'last');
      for (const packet of packets) assert.equal(packet.payload.length, payload.length);
      await target.expectNone();
    });
  },
);

inEveryPlace('P2P with p2p.topicTemplate', { 'p2p.topicTemplate': '{first}/inbox/{clientId}/from/{publisher}/{topic}' }, (place) => {
  place.test('the target sees the topic that the template makes, online and after waiting', async () => {
    for (const qos of [1, 2]) {
      let publisher = '';
      const clients = await arrivals(place, (sender, topic) => {
        publisher = sender.clientId;
        return sender.publish(topic, '', { qos });
      });
      for (const client of clients) {
        const expected = `dev/inbox/${client.clientId}/from/${publisher}/dev/p2p/${client.clientId}`;
        assert.equal((await client.next()).topic, expected);
        await client.expectNone();
      }
    }
  });

  place.test('with p2p-target each target sees its own', async () => {
    const [sender, ...targets] = await Promise.all([place.sender(), place.target(), place.target(), place.sender()]);
    const userProperties: [string, string][] = targets.map(({ clientId }) => ['p2p-target', clientId]);
    for (const qos of [0, 1, 2]) await sender.publish('dev/p2p/', `${qos}`, { qos, properties: { userProperties } });
    for (const target of targets) {
      for (const packet of await target.nextMany(3)) {
        assert.equal(packet.topic, `dev/inbox/${target.clientId}/from/${sender.clientId}/dev/p2p/`);
      }
    }
  });

  place.test('the publisher of a Will is the client that was lost', async () => {
    const target = await place.target();
    const lost = await place.sender({
      will: { topic: `dev/p2p/${target.clientId}`, payload: 'gone', qos: 1, retain: false, properties: {} },
    });
    await lost.destroy();
    const packet = await target.next();
    assert.equal(packet.topic, `dev/inbox/${target.clientId}/from/${lost.clientId}/dev/p2p/${target.clientId}`);
  });

  place.test('subscribers of the topic that the template makes see nothing', async () => {
    const [sender, target, observer] = await Promise.all([place.sender(), place.target(), place.target()]);
    await observer.subscribe(`dev/inbox/${target.clientId}/#`);
    for (const qos of [0, 1, 2]) await sender.publish(`dev/p2p/${target.clientId}`, '', { qos, retain: true });
    await target.nextMany(3);
    await observer.expectNone();
    await observer.subscribe(`dev/inbox/+/#`);
    await observer.expectNone();
  });
});
