/*
 * Goal: one hop. A P2P publish costs no ring frame when its target lives on the publisher's shard, and exactly one when it lives on another; the answers to
 * QoS 1 and 2 are counted apart and are at most one for each message.
 * Method: with nothing else under way, the frame counters of the whole process are read before and after.
 */
import assert from 'node:assert/strict';
import type { CounterName } from '../../src/shard/counters.ts';
import { clientIdOn } from '../support/placement.ts';
import { inEveryPlace, type Place } from './p2p-places.ts';

const FRAMES: readonly CounterName[] = [
  'ring/frames/publish',
  'ring/frames/acknowledge',
  'ring/frames/control',
  'ring/frames/sent',
  'ring/frames/jumbo',
];

/** What each counter has gained by `action`. */
async function gained(place: Place, action: () => Promise<void>): Promise<Record<string, number>> {
  const before = FRAMES.map((name) => place.count(name));
  await action();
  return Object.fromEntries(FRAMES.map((name, i) => [name.replace('ring/frames/', ''), place.count(name) - before[i]!]));
}

inEveryPlace(
  'P2P hop',
  { 'mqtt.events': false },
  (place) => {
    place.test('ring frames for each publish', async () => {
      const messages = 200;
      const hops = place.isCrossing ? 1 : 0;
      const [sender, target, missing] = [await place.sender(), await place.target(), place.targetId('nobody')];
      // Subscriptions on all shards that a broadcast or a tree would feed.
      for (let shard = 0; shard < place.shards; shard++) {
        const ear = await place.connect({ clientId: clientIdOn(shard, place.shards) });
        await ear.subscribe('#', { qos: 2 });
        await ear.subscribe(`dev/+/${target.clientId}`, { qos: 2 });
      }
      // The routes of those subscriptions have settled when a message has gone all the way.
      await sender.publish('settle', '', { qos: 1 });
      await sender.publish(`dev/p2p/${target.clientId}`, '', { qos: 1 });
      await target.next();
      for (const qos of [0, 1, 2]) {
        for (const to of [target.clientId, missing]) {
          // One at a time, so that no frame can stand for two messages.
          for (let n = 0; n < messages; n++) {
            const frames = await gained(place, async () => {
              await sender.publish(`dev/p2p/${to}`, `${n}`, { qos, retain: true });
              if (to !== missing) await target.next();
              else if (qos === 0) await sender.ping();
            });
            assert.ok(frames['publish']! <= 1, 'more than one hop');
            assert.equal(frames['publish'], hops, `QoS ${qos}`);
            assert.deepEqual([frames['control'], frames['jumbo']], [0, 0]);
          }
        }
      }
    });

    place.test('ring frames for many publishes at once', async () => {
      const messages = 600;
      const [sender, target] = [await place.sender(), await place.target()];
      for (const qos of [0, 1, 2]) {
        const frames = await gained(place, async () => {
          await Promise.all(Array.from({ length: messages }, (_, n) => sender.publish(`dev/p2p/${target.clientId}`, `${n}`, { qos })));
          await target.nextMany(messages);
        });
        assert.equal(frames['publish'], place.isCrossing ? messages : 0);
        assert.ok(frames['acknowledge']! <= (place.isCrossing && qos > 0 ? messages : 0), `${frames['acknowledge']} acknowledgements`);
        assert.equal(frames['sent'], frames['publish']! + frames['acknowledge']!);
      }
    });

    place.test('several targets cost one frame each that lives elsewhere', async () => {
      const sender = await place.sender();
      const targets = await Promise.all(
        Array.from({ length: place.shards * 2 }, (_, i) => place.connect({ clientId: clientIdOn(i % place.shards, place.shards) })),
      );
      const userProperties: [string, string][] = targets.map(({ clientId }) => ['p2p-target', clientId]);
      for (const qos of [0, 1, 2]) {
        const frames = await gained(place, async () => {
          await sender.publish('dev/p2p/', '', { qos, properties: { userProperties } });
          for (const target of targets) await target.next();
        });
        assert.equal(frames['publish'], targets.length - 2);
      }
    });
  },
  1,
);
