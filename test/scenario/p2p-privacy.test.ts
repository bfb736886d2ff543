/*
 * Goal: a P2P message is seen by its target alone: no subscription of any form, on any shard, matches it, and none to another client's address is granted;
 * one's own address may be subscribed and changes nothing.
 * Method: eavesdroppers on every shard with every wide filter; ordinary messages show that their subscriptions work.
 */
import assert from 'node:assert/strict';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { inEveryPlace, KEPT, type Place } from './p2p-places.ts';

/** Wide filters: each is ordinary and matches the text of `{first}/p2p/{id}`. */
function wideFilters(first: string, clientId: string): string[] {
  return ['#', '+/#', '+/+/+', '+/+/#', `${first}/#`, `${first}/+/#`, `${first}/+/+`, `${first}/+/${clientId}`, `+/+/${clientId}`];
}

/** Filters that can only match other clients' addresses. */
function foreignFilters(first: string, clientId: string): string[] {
  const ids = [clientId, '+', '#', `${clientId}/#`, `+/${clientId}`, `${clientId}/+`];
  return [first, '+'].flatMap((level) => ids.map((id) => `${level}/p2p/${id}`));
}

async function eavesdroppers(place: Place, first: string, clientId: string): Promise<TestClient[]> {
  const clients = [];
  for (let shard = 0; shard < place.shards; shard++) {
    const client = await connect(place.port, { clientId: clientIdOn(shard, place.shards, 'ear') });
    for (const filter of wideFilters(first, clientId)) {
      assert.deepEqual((await client.subscribe(filter, { qos: 2 })).codes, [2], filter);
      assert.deepEqual((await client.subscribe(`$share/group-${clientId}/${filter}`, { qos: 2 })).codes, [2], filter);
    }
    clients.push(client);
  }
  return clients;
}

inEveryPlace('P2P privacy', {}, (place) => {
  place.test('no subscription sees a P2P message, whatever its filter', async () => {
    const target = await place.target();
    const first = place.senderId('first');
    const sender = await place.sender();
    const ears = await eavesdroppers(place, first, target.clientId);
    const topic = `${first}/p2p/${target.clientId}`;
    for (const qos of [0, 1, 2]) await sender.publish(topic, `${qos}`, { qos, retain: true });
    for (const qos of [0, 1, 2]) {
      const userProperties: [string, string][] = [['p2p-target', target.clientId]];
      await sender.publish(`${first}/p2p/`, `${qos}`, { qos, properties: { userProperties } });
    }
    const lost = await place.sender({ will: { topic, payload: 'will', qos: 1 } });
    await lost.destroy();
    const expected = ['0', '1', '2', '0', '1', '2', 'will'];
    assert.deepEqual((await target.nextMany(expected.length)).map(payloadText), expected);
    // An ordinary message at the end: the subscriptions work, and it comes behind everything that might have come.
    await sender.publish(`${first}/ordinary/${target.clientId}`, 'fence', { qos: 1 });
    for (const ear of ears) {
      let packet = await ear.next();
      while (payloadText(packet) !== 'fence') packet = await ear.next();
      await ear.ping();
      const seen = ear.messages.filter((message) => message.topic.startsWith(`${first}/`)).map((message) => message.topic);
      assert.deepEqual([...new Set(seen)], [`${first}/ordinary/${target.clientId}`]);
    }
    await target.expectNone();
  });

  place.test('what waits for an offline target is seen by nobody when it comes back', async () => {
    const clientId = await place.offlineTarget();
    const [sender, ear] = await Promise.all([place.sender(), place.target()]);
    const first = place.senderId('first');
    await ear.subscribe(`${first}/#`, { qos: 2 });
    await sender.publish(`${first}/p2p/${clientId}`, 'for one', { qos: 1, retain: true });
    const back = await place.connect({ clientId, ...KEPT });
    assert.equal(payloadText(await back.next()), 'for one');
    await sender.publish(`${first}/ordinary`, 'fence', { qos: 1 });
    assert.equal(payloadText(await ear.next()), 'fence');
  });

  place.test('one’s own address is granted and never leads to a second copy', async () => {
    for (const version of [3, 4, 5] as const) {
      const [sender, target] = await Promise.all([place.sender(), place.target({ version, clientId: place.targetId('me', '/too') })]);
      const own = ['dev', 'any', '+'].map((first) => `${first}/p2p/${target.clientId}`);
      const properties = version === 5 ? { subscriptionIdentifiers: [9] } : {};
      for (const qos of [0, 1, 2]) {
        const entries = own.map((filter) => ({ filter, qos }));
        assert.deepEqual((await target.subscribe(entries, { properties })).codes, [qos, qos, qos]);
        assert.equal((await sender.publish(own[0]!, `${qos}`, { qos: 2 })).code, 0);
        const packet = await target.next();
        // The QoS is the publisher's, since no subscription takes part.
        assert.deepEqual([payloadText(packet), packet.qos, packet.properties], [`${qos}`, 2, {}]);
        await target.expectNone();
      }
      assert.deepEqual((await target.unsubscribe(own)).codes, version === 5 ? [0, 0, 0] : []);
      await sender.publish(own[0]!, 'still', { qos: 1 });
      assert.equal(payloadText(await target.next()), 'still');
      await target.expectNone();
    }
  });

  place.test('a subscription to one’s own address counts nowhere', async () => {
    const target = await place.target();
    const watcher = await place.sender();
    await watcher.subscribe(['session_subscribed', 'session_unsubscribed'].map((name) => ({ filter: `$events/${name}` })));
    await target.subscribe(`dev/p2p/${target.clientId}`);
    await target.unsubscribe(`dev/p2p/${target.clientId}`);
    await target.subscribe('ordinary/topic');
    const events = [];
    while (events.at(-1)?.['topic'] !== 'ordinary/topic') {
      const event = JSON.parse(payloadText(await watcher.next())) as Record<string, unknown>;
      if (event['clientid'] === target.clientId) events.push(event);
    }
    assert.equal(events.length, 1);
  });

  for (const version of [4, 5] as const) {
    place.test(`other clients’ addresses are refused with ${version === 5 ? '0x87' : '0x80'}`, async () => {
      const refused = version === 5 ? 0x87 : 0x80;
      const [sender, target, ear] = await Promise.all([
        place.sender(),
        place.target(),
        place.target({ version, clientId: place.targetId() }),
      ]);
      const first = place.senderId('first');
      const filters = foreignFilters(first, target.clientId);
      for (const filter of filters) {
        assert.deepEqual((await ear.subscribe(filter, { qos: 1 })).codes, [refused], filter);
        assert.deepEqual((await ear.subscribe(`$share/g/${filter}`, { qos: 1 })).codes, [refused], filter);
      }
      // Each filter of one SUBSCRIBE has its own answer.
      const entries = [`${first}/p2p/${target.clientId}`, `${first}/p2p/${ear.clientId}`, `${first}/ordinary`].map((filter) => ({
        filter,
        qos: 1,
      }));
      assert.deepEqual((await ear.subscribe(entries)).codes, [refused, 1, 1]);
      for (const qos of [0, 1, 2]) await sender.publish(`${first}/p2p/${target.clientId}`, '', { qos });
      await target.nextMany(3);
      await sender.publish(`${first}/ordinary`, 'fence', { qos: 1 });
      assert.equal(payloadText(await ear.next()), 'fence');
    });
  }

  place.test('one’s own address with more behind it, or another client whose name begins the same, is foreign', async () => {
    const ear = await place.target();
    for (const filter of [
      `dev/p2p/${ear.clientId}/#`,
      `dev/p2p/${ear.clientId}/x`,
      `dev/p2p/${ear.clientId}x`,
      `dev/p2p/x/${ear.clientId}`,
    ]) {
      assert.deepEqual((await ear.subscribe(filter)).codes, [0x87], filter);
    }
    // A client whose identifier reads as a wildcard does not thereby get everybody's messages.
    const sly = await place.target({ clientId: '+' });
    assert.deepEqual((await sly.subscribe('dev/p2p/+')).codes, [0x87]);
    await sly.disconnect();
  });

  place.test('filters that only look alike are ordinary', async () => {
    const ear = await place.target();
    for (const filter of ['dev/P2P/x', 'dev/p2px/x', 'a/b/p2p/x', '/p2p/x', '$SYS/p2p/x', 'p2p/x']) {
      assert.deepEqual((await ear.subscribe(filter, { qos: 1 })).codes, [1], filter);
    }
  });
});
