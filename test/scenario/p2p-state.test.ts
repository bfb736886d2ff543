/*
 * Goal: what becomes of a P2P message in every state of its target: there, away, full, never seen, with a mailbox.
 * Method: each row of the state table with QoS 0, 1 and 2, MQTT 5 and 3.1.1 senders; counters and `$events/message_dropped` show what was dropped.
 */
import assert from 'node:assert/strict';
import { payloadText, type TestClient } from '../support/client.ts';
import { inEveryPlace, KEPT, nextDrop, oneSecond, type Place } from './p2p-places.ts';

const VERSIONS = [3, 4, 5] as const;

/** A sender of each version. */
function senders(place: Place): Promise<TestClient[]> {
  return Promise.all(VERSIONS.map((version) => place.sender({ version, clientId: place.senderId(`v${version}`) })));
}

async function dropWatcher(place: Place): Promise<TestClient> {
  const watcher = await place.target({ clientId: place.targetId('watcher') });
  await watcher.subscribe('$events/message_dropped');
  return watcher;
}

/** Texts of all messages that wait for the client. */
async function waiting(place: Place, clientId: string, version: 3 | 4 | 5 = 5): Promise<string[]> {
  const options = version === 5 ? KEPT : { cleanStart: false };
  const client = await place.connect({ clientId, version, ...options });
  assert.equal(client.connack.sessionPresent, version > 3);
  await client.ping();
  const packets = client.messages;
  for (const packet of packets) assert.deepEqual([packet.retain, packet.dup], [false, false]);
  await client.disconnect();
  return packets.map((packet) => `${packet.qos} ${payloadText(packet)}`);
}

inEveryPlace('P2P target states', { 'limits.queueMessages': 5 }, (place) => {
  place.test('online: sent at once', async () => {
    for (const sender of await senders(place)) {
      for (const version of VERSIONS) {
        const target = await place.target({ version, clientId: place.targetId() });
        for (const qos of [0, 1, 2]) {
          assert.equal((await sender.publish(`dev/p2p/${target.clientId}`, `${qos}`, { qos })).code, 0);
          const packet = await target.next();
          assert.deepEqual([payloadText(packet), packet.qos], [`${qos}`, qos]);
        }
        await target.expectNone();
      }
    }
  });

  place.test('away: QoS 0 is dropped and counted, QoS 1 and 2 wait in the session', async () => {
    const watcher = await dropWatcher(place);
    for (const version of [4, 5] as const) {
      for (const sender of await senders(place)) {
        const clientId = place.targetId('away');
        const kept = version === 5 ? KEPT : { cleanStart: false };
        await (await place.connect({ clientId, version, ...kept })).disconnect();
        const topic = `dev/p2p/${clientId}`;
        const before = place.count('publish/dropped/offline');
        await sender.publish(topic, 'lost', { qos: 0 });
        assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'offline', topic, qos: 0 });
        assert.ok(place.count('publish/dropped/offline') > before);
        for (const qos of [1, 2, 1]) assert.equal((await sender.publish(topic, 'kept', { qos })).code, 0);
        assert.deepEqual(await waiting(place, clientId, version), ['1 kept', '2 kept', '1 kept']);
        assert.deepEqual(await waiting(place, clientId, version), []);
      }
    }
  });

  place.test('lost without DISCONNECT: what it had not acknowledged comes again, then what waited', async () => {
    const sender = await place.sender();
    const target = await place.target({ ...KEPT, clientId: place.targetId('lost'), autoAck: false });
    const topic = `dev/p2p/${target.clientId}`;
    for (const qos of [1, 2]) await sender.publish(topic, `sent ${qos}`, { qos });
    await target.nextMany(2);
    await target.destroy();
    // The connection's end reaches the target's shard some time later; the message is kept either way.
    assert.equal((await sender.publish(topic, 'later', { qos: 1 })).code, 0);
    const back = await place.connect({ clientId: target.clientId, ...KEPT });
    const packets = await back.nextMany(3);
    assert.deepEqual(packets.map(payloadText), ['sent 1', 'sent 2', 'later']);
    assert.deepEqual(
      packets.slice(0, 2).map((packet) => packet.dup),
      [true, true],
    );
    await back.expectNone();
  });

  place.test('full: refused with 0x97, before MQTT 5 acknowledged, dropped, counted, and an event tells', async () => {
    const watcher = await dropWatcher(place);
    for (const sender of await senders(place)) {
      const clientId = await place.offlineTarget();
      const topic = `dev/p2p/${clientId}`;
      for (let n = 0; n < 5; n++) assert.equal((await sender.publish(topic, `${n}`, { qos: 1 })).code, 0);
      for (const qos of [1, 2]) {
        const before = place.count('publish/dropped/queue-full');
        assert.equal((await sender.publish(topic, 'too many', { qos })).code, sender.version === 5 ? 0x97 : 0);
        assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'queue_full', topic, qos });
        assert.ok(place.count('publish/dropped/queue-full') > before);
      }
      assert.deepEqual(await waiting(place, clientId), ['1 0', '1 1', '1 2', '1 3', '1 4']);
      // There is room again.
      assert.equal((await sender.publish(topic, 'again', { qos: 1 })).code, 0);
      assert.deepEqual(await waiting(place, clientId), ['1 again']);
    }
  });

  place.test('a refused QoS 2 message frees its Packet Identifier', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    const topic = `dev/p2p/${clientId}`;
    for (let n = 0; n < 5; n++) await sender.publish(topic, `${n}`, { qos: 2 });
    assert.equal((await sender.publish(topic, 'refused', { qos: 2, packetId: 77 })).code, 0x97);
    const back = await place.connect({ clientId, ...KEPT });
    await back.nextMany(5);
    assert.equal((await sender.publish(topic, 'second', { qos: 2, packetId: 77 })).code, 0);
    assert.equal(payloadText(await back.next()), 'second');
    await back.expectNone();
  });

  place.test('behind its window: sent, then queued, then refused', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target({ autoAck: false, properties: { receiveMaximum: 1 } })]);
    const topic = `dev/p2p/${target.clientId}`;
    const codes = [];
    for (let n = 0; n < 8; n++) codes.push((await sender.publish(topic, `${n}`, { qos: 1 })).code);
    assert.deepEqual(codes, [0, 0, 0, 0, 0, 0, 0x97, 0x97]);
    // QoS 0 needs no place in the window.
    await sender.publish(topic, 'QoS 0', { qos: 0 });
    await sender.publish(topic, 'fence', { qos: 1 });
    const texts = [];
    for (let n = 0; n < 7; n++) {
      const packet = await target.next();
      texts.push(payloadText(packet));
      target.ack(packet);
    }
    assert.deepEqual(texts, ['0', 'QoS 0', '1', '2', '3', '4', '5']);
    await target.expectNone();
  });

  place.test('no session: 0x10, before MQTT 5 acknowledged, dropped and counted', async () => {
    const watcher = await dropWatcher(place);
    const ended = await place.target({ clientId: place.targetId('ended') });
    await ended.disconnect();
    // A session whose expiry is set to 0 at DISCONNECT ends there and then.
    const cut = await place.target({ clientId: place.targetId('cut'), ...KEPT });
    await cut.disconnect(0, { sessionExpiryInterval: 0 });
    const ids = [place.targetId('never'), ended.clientId, cut.clientId, 'with/slash', '$dollar'];
    for (const sender of await senders(place)) {
      for (const clientId of ids) {
        const topic = `dev/p2p/${clientId}`;
        for (const qos of [1, 2, 0]) {
          const before = place.count('publish/dropped/no-session');
          assert.equal((await sender.publish(topic, '', { qos })).code, sender.version === 5 && qos > 0 ? 0x10 : 0);
          assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'no_session', topic, qos });
          assert.ok(place.count('publish/dropped/no-session') > before);
        }
      }
    }
    // Nothing was kept for them.
    const late = await place.target({ clientId: ids[0]! });
    await late.expectNone();
  });

  place.test('a session that expires is no session', async () => {
    const sender = await place.sender();
    const clientId = await place.offlineTarget({ properties: { sessionExpiryInterval: 1 } });
    const topic = `dev/p2p/${clientId}`;
    const properties = { responseTopic: `dev/p2p/${sender.clientId}`, userProperties: [['p2p-receipt', '1']] as [string, string][] };
    assert.equal((await sender.publish(topic, '', { qos: 1, properties })).code, 0);
    // The receipt says that the session has ended.
    await sender.next();
    assert.equal((await sender.publish(topic, '', { qos: 1 })).code, 0x10);
    const late = await place.connect({ clientId, ...KEPT });
    assert.equal(late.connack.sessionPresent, false);
    await late.expectNone();
  });

  place.test('a target that starts clean has nothing waiting', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    assert.equal((await sender.publish(`dev/p2p/${clientId}`, '', { qos: 1 })).code, 0);
    const clean = await place.connect({ clientId, cleanStart: true });
    await clean.expectNone();
  });

  place.test('a target that is taken over gets its messages on the new connection', async () => {
    const [sender, old] = await Promise.all([place.sender(), place.target({ ...KEPT, clientId: place.targetId('twice') })]);
    const fresh = await place.connect({ clientId: old.clientId, ...KEPT });
    assert.equal((await old.closed).code, 0x8e);
    assert.equal((await sender.publish(`dev/p2p/${old.clientId}`, 'new', { qos: 1 })).code, 0);
    assert.equal(payloadText(await fresh.next()), 'new');
    assert.equal(old.messages.length, 0);
  });
});

inEveryPlace('P2P with queue.qos0', { 'queue.qos0': true, 'limits.queueMessages': 5 }, (place) => {
  place.test('away: QoS 0 waits too, and keeps its QoS; over the limit it is dropped', async () => {
    const watcher = await dropWatcher(place);
    for (const sender of await senders(place)) {
      const clientId = await place.offlineTarget();
      const topic = `dev/p2p/${clientId}`;
      for (const [n, qos] of [0, 1, 0, 2, 0].entries()) await sender.publish(topic, `${n}`, { qos });
      await sender.publish(topic, 'too many', { qos: 0 });
      assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'queue_full', topic, qos: 0 });
      assert.deepEqual(await waiting(place, clientId), ['0 0', '1 1', '0 2', '2 3', '0 4']);
    }
  });

  place.test('QoS 0 brings no receipt, whatever becomes of it', async () => {
    const [sender, clientId] = await Promise.all([place.sender(), place.offlineTarget()]);
    const properties = { responseTopic: `dev/p2p/${sender.clientId}`, userProperties: [['p2p-receipt', '1']] as [string, string][] };
    for (const qos of [0, 1]) {
      const correlationData = Uint8Array.of(qos);
      await sender.publish(`dev/p2p/${clientId}`, '', { qos, properties: { ...properties, correlationData } });
    }
    await place.connect({ clientId, cleanStart: true });
    assert.equal((await sender.next()).properties.correlationData![0], 1);
    await sender.expectNone();
  });
});

inEveryPlace('P2P with queue.overflow: drop-oldest', { 'queue.overflow': 'drop-oldest', 'limits.queueMessages': 3 }, (place) => {
  place.test('full: the oldest makes room, counted, and an event tells', async () => {
    const watcher = await dropWatcher(place);
    for (const sender of await senders(place)) {
      const clientId = await place.offlineTarget();
      const topic = `dev/p2p/${clientId}`;
      const before = place.count('publish/dropped/queue-full');
      for (let n = 0; n < 5; n++) assert.equal((await sender.publish(topic, `${n}`, { qos: 1 + (n % 2) })).code, 0);
      for (const qos of [1, 2]) assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'queue_full', topic, qos });
      assert.ok(place.count('publish/dropped/queue-full') >= before + 2);
      assert.deepEqual(await waiting(place, clientId), ['1 2', '2 3', '1 4']);
    }
  });
});

inEveryPlace('P2P with mailboxes', { 'p2p.mailbox.enabled': true, 'p2p.mailbox.maxMessages': 3 }, (place) => {
  place.test('QoS 1 and 2 wait for the first connection, QoS 0 does not', async () => {
    for (const sender of await senders(place)) {
      for (const version of VERSIONS) {
        const clientId = place.targetId('unborn');
        const topic = `dev/p2p/${clientId}`;
        for (const qos of [0, 1, 2, 1]) assert.equal((await sender.publish(topic, `${qos}`, { qos, retain: true })).code, 0);
        const first = await place.connect({ clientId, version });
        const packets = await first.nextMany(3);
        assert.deepEqual(
          packets.map((packet) => [packet.topic, payloadText(packet), packet.qos, packet.retain]),
          [1, 2, 1].map((qos) => [topic, `${qos}`, qos, false]),
        );
        await first.expectNone();
        await first.disconnect();
        const second = await place.connect({ clientId, version });
        await second.expectNone();
      }
    }
  });

  place.test('more than p2p.mailbox.maxMessages are refused with 0x97, before MQTT 5 acknowledged and dropped', async () => {
    const watcher = await dropWatcher(place);
    for (const sender of await senders(place)) {
      const clientId = place.targetId('unborn');
      const topic = `dev/p2p/${clientId}`;
      for (let n = 0; n < 3; n++) assert.equal((await sender.publish(topic, `${n}`, { qos: 1 })).code, 0);
      for (const qos of [1, 2]) {
        const before = place.count('publish/dropped/queue-full');
        assert.equal((await sender.publish(topic, 'too many', { qos })).code, sender.version === 5 ? 0x97 : 0);
        assert.ok(place.count('publish/dropped/queue-full') > before);
        assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'queue_full', topic, qos });
      }
      const first = await place.connect({ clientId });
      assert.deepEqual((await first.nextMany(3)).map(payloadText), ['0', '1', '2']);
      await first.expectNone();
    }
  });

  place.test('a client with a session has no mailbox; after its session it may have one again', async () => {
    const sender = await place.sender();
    const clientId = await place.offlineTarget();
    const topic = `dev/p2p/${clientId}`;
    for (let n = 0; n < 5; n++) assert.equal((await sender.publish(topic, `${n}`, { qos: 1 })).code, 0);
    const back = await place.connect({ clientId, ...KEPT });
    await back.nextMany(5);
    await back.disconnect(0, { sessionExpiryInterval: 0 });
    const before = place.count('p2p/mailbox');
    assert.equal((await sender.publish(topic, 'mail', { qos: 1 })).code, 0);
    assert.ok(place.count('p2p/mailbox') > before);
    const again = await place.connect({ clientId });
    assert.equal(payloadText(await again.next()), 'mail');
  });

  place.test('Message Expiry Interval counts in a mailbox', async () => {
    const sender = await place.sender();
    const clientId = place.targetId('unborn');
    const topic = `dev/p2p/${clientId}`;
    await sender.publish(topic, 'expires', { qos: 1, properties: { messageExpiryInterval: 1 } });
    await sender.publish(topic, 'stays', { qos: 1, properties: { messageExpiryInterval: 100 } });
    await oneSecond(place);
    const first = await place.connect({ clientId });
    const packet = await first.next();
    assert.equal(payloadText(packet), 'stays');
    assert.ok(packet.properties.messageExpiryInterval! < 100);
    await first.expectNone();
  });
});

inEveryPlace('P2P with short-lived mailboxes', { 'p2p.mailbox.enabled': true, 'p2p.mailbox.ttl': '1s' }, (place) => {
  place.test('after p2p.mailbox.ttl the messages are gone and counted, and the sender has its receipt', async () => {
    const [sender, watcher] = await Promise.all([place.sender(), dropWatcher(place)]);
    const clientId = place.targetId('unborn');
    const properties = { responseTopic: `dev/p2p/${sender.clientId}`, userProperties: [['p2p-receipt', '1']] as [string, string][] };
    const before = place.count('publish/dropped/expired');
    assert.equal((await sender.publish(`dev/p2p/${clientId}`, '', { qos: 1, properties })).code, 0);
    const receipt = JSON.parse(payloadText(await sender.next())) as Record<string, unknown>;
    assert.deepEqual([receipt['target'], receipt['status']], [clientId, 'expired']);
    assert.deepEqual(await nextDrop(watcher, clientId), { reason: 'expired', topic: `dev/p2p/${clientId}`, qos: 1 });
    assert.ok(place.count('publish/dropped/expired') > before);
    const late = await place.connect({ clientId });
    await late.expectNone();
  });
});
