/*
 * Goal: what is a P2P address and what is an ordinary topic, for every form that the contract names, and which first levels count.
 * Method: real clients in every place; an observer with ordinary subscriptions tells ordinary topics from addresses.
 */
import assert from 'node:assert/strict';
import { payloadText } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { inEveryPlace, type Place } from './p2p-places.ts';

/** Client Identifiers that a topic name may hold, as prefix and suffix around what makes them unique. */
const NAMES: readonly (readonly [string, string])[] = [
  ['with space ', ' and more '],
  ['a/b/c', '/d'],
  ['/leading', ''],
  ['trailing', '/'],
  ['//', '//'],
  ['p2p', '/p2p/x'],
  ['$dollar', ''],
  ['grüße', 'é'],
  ['e\u0301', ''],
  ['人类', '🚗'],
  ['CaSe', 'Case'],
  ['\u{10ffff}', '\ufeff'],
  ['x'.repeat(900), ''],
];

/** Publishes to every topic at QoS 1; the observer sees all of them and the target none. */
async function areOrdinary(place: Place, filters: readonly string[], topicsFor: (clientId: string) => readonly string[]): Promise<void> {
  const [sender, target, observer] = await Promise.all([place.sender(), place.target(), place.target()]);
  for (const filter of filters) assert.deepEqual((await observer.subscribe(filter, { qos: 1 })).codes, [1], filter);
  const topics = topicsFor(target.clientId);
  for (const topic of topics) {
    const payload = `${sender.clientId} ${topic}`;
    assert.equal((await sender.publish(topic, payload, { qos: 1 })).code, 0, topic);
    // Tests of other places run on the same broker.
    let packet = await observer.next();
    while (!payloadText(packet).startsWith(sender.clientId)) packet = await observer.next();
    assert.equal(packet.topic, topic);
    assert.equal(payloadText(packet), payload);
  }
  await target.expectNone();
}

inEveryPlace('P2P address', {}, (place) => {
  place.test('the first level is any one level that is not empty and does not begin with $', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    for (const first of ['first', 'a', ' ', 'p2p', 'ü 人', 'x$', 'P2P']) {
      const topic = `${first}/p2p/${target.clientId}`;
      assert.equal((await sender.publish(topic, first, { qos: 1 })).code, 0, topic);
      const packet = await target.next();
      assert.equal(packet.topic, topic);
      assert.equal(payloadText(packet), first);
    }
    await target.expectNone();
  });

  place.test('client identifiers are taken verbatim: slashes, spaces, any UTF-8', async () => {
    const sender = await place.sender();
    for (const [prefix, suffix] of NAMES) {
      const clientId = place.targetId(prefix, suffix);
      const target = await place.target({ clientId });
      for (const qos of [0, 1, 2]) await sender.publish(`dev/p2p/${clientId}`, `${qos}`, { qos });
      assert.deepEqual((await target.nextMany(3)).map(payloadText), ['0', '1', '2'], clientId);
      await target.expectNone();
      await target.disconnect();
    }
  });

  place.test('identifiers that differ in case, in normal form or by a slash are different clients', async () => {
    const sender = await place.sender();
    const target = await place.target({ clientId: place.targetId('Name-é') });
    const { clientId } = target;
    for (const other of [clientId.toLowerCase(), clientId.normalize('NFD'), `${clientId}/`, `/${clientId}`, ` ${clientId}`]) {
      assert.notEqual(other, clientId);
      assert.equal((await sender.publish(`dev/p2p/${other}`, '', { qos: 1 })).code, 0x10, other);
    }
    await target.expectNone();
  });

  place.test('a first level with $ is no address', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    for (const topic of ['$SYS/p2p/', '$share/p2p/', '$x/p2p/', '$/p2p/']) {
      // Topics with $ are the broker's own: refused as ordinary ones are, and not by the code of a missing target.
      assert.equal((await sender.publish(topic + target.clientId, '', { qos: 1 })).code, 0x87, topic);
      await sender.publish(topic + target.clientId, '', { qos: 0 });
    }
    await sender.publish(`dev/p2p/${target.clientId}`, 'fence', { qos: 1 });
    assert.equal(payloadText(await target.next()), 'fence');
    await target.expectNone();
  });

  place.test('an empty first level, two first levels and other second levels are ordinary topics', async () => {
    const root = place.senderId('root');
    await areOrdinary(place, [`${root}/#`, '/p2p/#'], (clientId) => [
      `/p2p/${clientId}`,
      `${root}/P2P/${clientId}`,
      `${root}/x2p/${clientId}`,
      `${root}/pxp/${clientId}`,
      `${root}/p2x/${clientId}`,
      `${root}/p2px/${clientId}`,
      `${root}/xp2p/${clientId}`,
      `${root}/p2/p/${clientId}`,
      `${root}/ p2p/${clientId}`,
      `${root}/sub/p2p/${clientId}`,
      `${root}//p2p/${clientId}`,
      `${root}/p2p${clientId}`,
    ]);
  });

  place.test('without an identifier in the topic, p2p-target names the targets, also ones with wildcards', async () => {
    const sender = await place.sender();
    const names: readonly (readonly [string, string])[] = [
      ['plus+', '/+'],
      ['hash#', '/#'],
      ['plain', ''],
    ];
    for (const topic of ['dev/p2p/', 'dev/p2p']) {
      const targets = await Promise.all(names.map(([prefix, suffix]) => place.target({ clientId: place.targetId(prefix, suffix) })));
      const bystander = await place.target();
      for (const qos of [0, 1, 2]) {
        const userProperties: [string, string][] = targets.map(({ clientId }) => ['p2p-target', clientId]);
        const { code } = await sender.publish(topic, `${qos}`, { qos, properties: { userProperties } });
        assert.equal(code, 0);
      }
      for (const target of targets) {
        const packets = await target.nextMany(3);
        assert.deepEqual(packets.map(payloadText), ['0', '1', '2']);
        assert.deepEqual(
          packets.map((packet) => [packet.topic, packet.qos]),
          [0, 1, 2].map((qos) => [topic, qos]),
        );
        for (const packet of packets) assert.equal(packet.properties.userProperties, undefined);
        await target.expectNone();
      }
      await bystander.expectNone();
    }
  });

  place.test('targets on all shards at once', async () => {
    const sender = await place.sender();
    const targets = await Promise.all(
      Array.from({ length: place.shards * 2 }, (_, i) => place.connect({ clientId: clientIdOn(i % place.shards, place.shards) })),
    );
    const userProperties: [string, string][] = targets.map(({ clientId }) => ['p2p-target', clientId]);
    for (const qos of [0, 1, 2]) await sender.publish('dev/p2p/', `${qos}`, { qos, properties: { userProperties } });
    for (const target of targets) {
      assert.deepEqual((await target.nextMany(3)).map(payloadText), ['0', '1', '2']);
      await target.expectNone();
    }
  });

  place.test('p2p-target counts only where the topic names nobody', async () => {
    const [sender, target, other] = await Promise.all([place.sender(), place.target(), place.target()]);
    const userProperties: [string, string][] = [['p2p-target', other.clientId]];
    const { code } = await sender.publish(`dev/p2p/${target.clientId}`, 'one', { qos: 1, properties: { userProperties } });
    assert.equal(code, 0);
    assert.equal((await target.next()).properties.userProperties, undefined);
    await target.expectNone();
    await other.expectNone();
  });

  place.test('without any target MQTT 5 is told 0x90 and earlier versions nothing', async () => {
    const observer = await place.target();
    await observer.subscribe('#');
    for (const version of [3, 4, 5] as const) {
      const sender = await place.sender({ version, clientId: place.senderId() });
      for (const topic of ['empty/p2p/', 'empty/p2p']) {
        for (const qos of [1, 2]) {
          const before = place.count('p2p/received');
          const dropped = place.count('publish/dropped/no-session');
          assert.equal((await sender.publish(topic, '', { qos })).code, version === 5 ? 0x90 : 0, `${topic} ${qos}`);
          assert.ok(place.count('p2p/received') > before);
          assert.ok(place.count('publish/dropped/no-session') > dropped, 'the drop is counted');
        }
        await sender.publish(topic, '', { qos: 0 });
      }
      await sender.ping();
    }
    assert.deepEqual(
      observer.messages.map(({ topic }) => topic).filter((topic) => topic.startsWith('empty')),
      [],
    );
  });

  place.test('an empty p2p-target is 0x90, and nobody gets the message', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const userProperties: [string, string][] = [
      ['p2p-target', target.clientId],
      ['p2p-target', ''],
    ];
    for (const qos of [1, 2]) assert.equal((await sender.publish('dev/p2p/', '', { qos, properties: { userProperties } })).code, 0x90);
    await target.expectNone();
  });
});

inEveryPlace('P2P address with p2p.parents and p2p.maxTargets', { 'p2p.parents': ['dev', 'fleet'], 'p2p.maxTargets': 2 }, (place) => {
  place.test('first levels of the list make addresses', async () => {
    const [sender, target, observer] = await Promise.all([place.sender(), place.target(), place.target()]);
    await observer.subscribe('#');
    for (const first of ['dev', 'fleet']) {
      await sender.publish(`${first}/p2p/${target.clientId}`, first, { qos: 1 });
      assert.equal(payloadText(await target.next()), first);
      assert.equal((await sender.publish(`${first}/p2p/`, '', { qos: 1 })).code, 0x90);
      assert.deepEqual((await observer.subscribe(`${first}/p2p/${target.clientId}`)).codes, [0x87]);
    }
    assert.deepEqual(
      observer.messages.filter(({ topic }) => topic.endsWith(target.clientId)),
      [],
    );
  });

  place.test('other first levels are ordinary topics, to publish and to subscribe', () =>
    areOrdinary(place, ['devs/p2p/#', 'de/p2p/#', 'Dev/+/+', 'other/p2p', 'other/p2p/#'], (clientId) => [
      `devs/p2p/${clientId}`,
      `de/p2p/${clientId}`,
      `Dev/p2p/${clientId}`,
      `other/p2p/${clientId}`,
    ]),
  );

  place.test('more targets than p2p.maxTargets are refused with 0x97, and nobody gets the message', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const userProperties = (count: number): [string, string][] => Array.from({ length: count }, () => ['p2p-target', target.clientId]);
    assert.equal((await sender.publish('dev/p2p/', '', { qos: 1, properties: { userProperties: userProperties(3) } })).code, 0x97);
    await target.expectNone();
    assert.equal((await sender.publish('dev/p2p/', '', { qos: 1, properties: { userProperties: userProperties(2) } })).code, 0);
    await target.nextMany(2);
  });
});

inEveryPlace('P2P switched off', { 'p2p.enabled': false }, (place) => {
  place.test('every topic is an ordinary one', () =>
    areOrdinary(place, ['dev/p2p/#', 'e/p2p'], (clientId) => [`dev/p2p/${clientId}`, 'dev/p2p/', 'e/p2p']),
  );

  place.test('p2p- User Properties travel, and nobody is a target', async () => {
    const [sender, target] = await Promise.all([place.sender(), place.target()]);
    const topic = `off/p2p/${target.clientId}`;
    assert.equal((await sender.publish(topic, '', { qos: 1 })).code, 0x10);
    await target.subscribe(topic);
    const userProperties: [string, string][] = [['p2p-report', '1']];
    const { code, properties } = await sender.publish(topic, '', { qos: 1, properties: { userProperties } });
    assert.equal(code, 0);
    assert.equal(properties.userProperties, undefined);
    assert.deepEqual((await target.next()).properties.userProperties, userProperties);
  });
});
