/*
 * Goal: each strategy picks as its name says, in a group and over shards; online members come first; members come and go at no cost.
 * Method: counts over many picks, purity by asking twice, random changes against a plain list.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import type { SharedStrategy } from '../../src/base/settings.ts';
import { pickShard, ShareGroup, ShareState } from '../../src/routing/share-group.ts';
import type { Subscription } from '../../src/routing/subscriptions.ts';
import { Random } from './random-topics.ts';

interface Subscriber {
  readonly name: string;
}

const STRATEGIES: SharedStrategy[] = ['round-robin', 'random', 'sticky', 'hash-client-id', 'hash-topic'];

function memberOf(subscriber: Subscriber): Subscription<Subscriber> {
  return { subscriber, filter: 'a', shareName: 'g', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, identifier: 0 };
}

function groupOf(online: number, offline: number): ShareGroup<Subscriber> {
  const group = new ShareGroup<Subscriber>('g', 'a');
  for (let i = 0; i < online + offline; i++) group.add(memberOf({ name: `m${i}` }), i < online);
  return group;
}

function tally(count: number, pick: (i: number) => string): Map<string, number> {
  const picked = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const name = pick(i);
    picked.set(name, (picked.get(name) ?? 0) + 1);
  }
  return picked;
}

describe('members of a group', () => {
  test('round-robin visits each online member equally often', () => {
    const group = groupOf(7, 3);
    const picked = tally(700, () => group.pick('round-robin', 0, 0)!.subscriber.name);
    assert.equal(picked.size, 7);
    for (const count of picked.values()) assert.equal(count, 100);
  });

  test('random and the hashes spread over all online members', () => {
    for (const strategy of ['random', 'hash-client-id', 'hash-topic'] as const) {
      const group = groupOf(5, 2);
      const picked = tally(10_000, (i) => group.pick(strategy, i * 7919, i * 104_729)!.subscriber.name);
      assert.equal(picked.size, 5, strategy);
      for (const count of picked.values()) assert.ok(count > 1700 && count < 2300, `${strategy} ${count}`);
    }
  });

  test('hashes: the same member for the same hash, and only their own hash counts', () => {
    const group = groupOf(5, 0);
    for (let i = 0; i < 100; i++) {
      assert.equal(group.pick('hash-client-id', i, 1), group.pick('hash-client-id', i, 2));
      assert.equal(group.pick('hash-topic', 1, i), group.pick('hash-topic', 2, i));
    }
  });

  test('sticky stays until the member leaves or goes offline, also when others join', () => {
    const group = groupOf(3, 0);
    const first = group.pick('sticky', 0, 0)!.subscriber;
    group.add(memberOf({ name: 'late' }), true);
    for (let i = 0; i < 20; i++) assert.equal(group.pick('sticky', i, i)!.subscriber, first);
    group.setOnline(first, false);
    const second = group.pick('sticky', 0, 0)!.subscriber;
    assert.notEqual(second, first);
    group.setOnline(first, true);
    assert.equal(group.pick('sticky', 0, 0)!.subscriber, second);
    group.remove(second);
    assert.notEqual(group.pick('sticky', 0, 0)!.subscriber, second);
    // Who left and comes back is a member like any other: nothing of it was kept.
    const third = group.pick('sticky', 0, 0)!.subscriber;
    group.remove(third);
    group.add(memberOf(third), true);
    assert.notEqual(group.pick('sticky', 0, 0)!.subscriber, third);
  });

  test('an offline member only where nobody is online; nobody in an empty group', () => {
    for (const strategy of STRATEGIES) {
      const group = groupOf(0, 4);
      const picked = tally(400, (i) => group.pick(strategy, i, i)!.subscriber.name);
      assert.equal(picked.size, strategy === 'sticky' ? 1 : 4, strategy);
      const back = { name: 'back' };
      group.add(memberOf(back), true);
      for (let i = 0; i < 20; i++) assert.equal(group.pick(strategy, i, i)!.subscriber, back, strategy);
      assert.equal(new ShareGroup<Subscriber>('g', 'a').pick(strategy, 1, 1), undefined);
    }
  });

  test('random changes against a plain map', () => {
    const random = new Random('ShareGroup');
    const group = new ShareGroup<Subscriber>('g', 'a');
    const subscribers = Array.from({ length: 20 }, (_, i) => ({ name: `s${i}` }));
    const model = new Map<Subscriber, boolean>();
    for (let step = 0; step < 20_000; step++) {
      const subscriber = random.pick(subscribers);
      const isOnline = random.next(2) === 0;
      const action = random.next(3);
      if (action === 0) {
        assert.equal(group.add(memberOf(subscriber), isOnline), !model.has(subscriber));
        model.set(subscriber, isOnline);
      } else if (action === 1) {
        assert.equal(group.remove(subscriber), model.delete(subscriber));
      } else {
        assert.equal(group.setOnline(subscriber, isOnline), model.has(subscriber) && model.get(subscriber) !== isOnline);
        if (model.has(subscriber)) model.set(subscriber, isOnline);
      }
      const online = [...model.values()].filter((each) => each).length;
      assert.deepEqual([group.memberCount, group.onlineCount], [model.size, online]);
      const picked = group.pick(random.pick(STRATEGIES), random.next(1 << 30), random.next(1 << 30));
      assert.equal(picked === undefined, model.size === 0);
      if (picked !== undefined) assert.equal(model.get(picked.subscriber), online > 0);
      const any = random.pick(subscribers);
      assert.equal(group.get(any)?.subscriber, model.has(any) ? any : undefined);
    }
  });
});

describe('shards of a group', () => {
  const none = new Int32Array(4);

  test('round-robin is exact by weights', () => {
    const online = Int32Array.of(1, 0, 5, 2);
    const state = new ShareState(0);
    const picked = tally(800, () => String(pickShard(online, online, 'round-robin', state, 0, 0)));
    assert.deepEqual([...picked].sort(), [
      ['0', 100],
      ['2', 500],
      ['3', 200],
    ]);
  });

  test('round-robin over shards and then over members gives every member the same', () => {
    const groups = [groupOf(1, 0), groupOf(4, 1), groupOf(3, 0)];
    const online = Int32Array.from(groups, (group) => group.onlineCount);
    const state = new ShareState(0);
    const picked = tally(800, () => {
      const shard = pickShard(online, online, 'round-robin', state, 0, 0);
      return `${shard} ${groups[shard]!.pick('round-robin', 0, 0)!.subscriber.name}`;
    });
    assert.equal(picked.size, 8);
    for (const count of picked.values()) assert.equal(count, 100);
  });

  test('hashes over shards and then over members reach every member about equally', () => {
    for (const strategy of ['hash-client-id', 'hash-topic', 'random'] as const) {
      const groups = [groupOf(2, 0), groupOf(4, 0), groupOf(6, 0)];
      const online = Int32Array.from(groups, (group) => group.onlineCount);
      const state = new ShareState(0);
      const picked = tally(24_000, (i) => {
        const shard = pickShard(online, online, strategy, state, i, i);
        return `${shard} ${groups[shard]!.pick(strategy, i, i)!.subscriber.name}`;
      });
      assert.equal(picked.size, 12, strategy);
      for (const count of picked.values()) assert.ok(count > 1700 && count < 2300, `${strategy} ${count}`);
    }
  });

  test('hashes are a pure function of hash and counts', () => {
    const online = Int32Array.of(3, 1, 2, 0);
    for (let i = 0; i < 200; i++) {
      const used = new ShareState(9);
      for (let n = 0; n < i; n++) pickShard(online, online, 'round-robin', used, 0, 0);
      for (const strategy of ['hash-client-id', 'hash-topic'] as const) {
        const other = strategy === 'hash-topic';
        const one = pickShard(online, online, strategy, new ShareState(1), i, i);
        assert.equal(pickShard(online, online, strategy, used, other ? 77 : i, other ? i : 77), one);
      }
    }
  });

  test('sticky stays with a shard while it has online members, and starts at the same one everywhere', () => {
    const online = Int32Array.of(2, 2, 0, 2);
    const members = Int32Array.of(2, 2, 2, 2);
    const state = new ShareState(1_234_567);
    const first = pickShard(online, members, 'sticky', state, 0, 0);
    assert.equal(pickShard(online, members, 'sticky', new ShareState(1_234_567), 5, 6), first);
    for (let shard = 0; shard < 4; shard++) if (shard !== first) online[shard] = 50;
    assert.equal(pickShard(online, members, 'sticky', state, 1, 1), first);
    online[first] = 0;
    const second = pickShard(online, members, 'sticky', state, 1, 1);
    assert.notEqual(second, first);
    online[first] = 9;
    assert.equal(pickShard(online, members, 'sticky', state, 1, 1), second);
  });

  test('all members count where none is online; -1 where there is none', () => {
    for (const strategy of STRATEGIES) {
      const members = Int32Array.of(0, 3, 0, 0);
      assert.equal(pickShard(none, members, strategy, new ShareState(5), 1, 2), 1, strategy);
      assert.equal(pickShard(Int32Array.of(0, 0, 0, 1), members, strategy, new ShareState(5), 1, 2), 3, strategy);
      assert.equal(pickShard(none, none, strategy, new ShareState(5), 1, 2), -1, strategy);
    }
  });

  test('round-robin stays in range while the counts shrink', () => {
    const online = Int32Array.of(0, 100);
    const state = new ShareState(0);
    for (let left = 100; left > 0; left--) {
      online[1] = left;
      assert.equal(pickShard(online, online, 'round-robin', state, 0, 0), 1);
    }
  });
});
