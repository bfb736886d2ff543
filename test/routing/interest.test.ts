/*
 * Goal: InterestTree says which shards and groups want a topic, takes repeated and missing changes calmly, forgets a dead shard wholly,
 * and gives a snapshot from which another tree can be built.
 * Method: random operations against plain maps; a second tree built from the snapshots.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { InterestTree, SHARDS_MAX } from '../../src/routing/interest.ts';
import { matches, Random, randomFilter, randomTopic } from './random-topics.ts';

const SHARDS = 4;

interface Plain {
  readonly mask: number;
  readonly shares: string[];
}

function plainMatch(tree: InterestTree, topic: string): Plain {
  const match = tree.match(topic);
  const shares = match.shares.map(
    (share) => `${share.shareName} ${share.filter} ${share.onlineCounts.slice(0, SHARDS)} ${share.memberCounts.slice(0, SHARDS)}`,
  );
  return { mask: match.shardMask, shares: shares.sort() };
}

test('adding twice and removing what is not there change nothing', () => {
  const tree = new InterestTree();
  tree.add('a/+', 2);
  const version = tree.version;
  tree.add('a/+', 2);
  tree.remove('a/+', 1);
  tree.remove('b', 2);
  tree.setShare('g', 'b', 1, 0, 0);
  tree.clearShard(0);
  assert.equal(tree.version, version);
  assert.equal(tree.match('a/x').shardMask, 4);
  tree.add('a/x', SHARDS_MAX - 1);
  assert.equal(tree.match('a/x').shardMask, 4 | (1 << 30));
  tree.remove('a/+', 2);
  tree.remove('a/x', SHARDS_MAX - 1);
  assert.equal(tree.size, 0);
});

test('counts of a group are live in a match; the version changes with the groups alone', () => {
  const tree = new InterestTree();
  tree.setShare('g', 'a', 0, 1, 1);
  const version = tree.version;
  const match = tree.match('a');
  tree.setShare('g', 'a', 1, 2, 3);
  tree.setShare('g', 'a', 0, 0, 1);
  assert.equal(tree.version, version);
  assert.equal(tree.shareOf('g', 'a'), match.shares[0]);
  assert.deepEqual([...match.shares[0]!.onlineCounts.slice(0, 3)], [0, 2, 0]);
  assert.deepEqual([...match.shares[0]!.memberCounts.slice(0, 3)], [1, 3, 0]);
  tree.setShare('h', 'a', 0, 1, 1);
  assert.notEqual(tree.version, version);
  assert.equal(match.shares.length, 1);
  tree.setShare('g', 'a', 0, 0, 0);
  tree.setShare('g', 'a', 1, 0, 0);
  assert.deepEqual(
    tree.match('a').shares.map((share) => share.shareName),
    ['h'],
  );
});

test('against plain maps, random operations; an unchanged version means an unchanged match', () => {
  const random = new Random('InterestTree');
  const tree = new InterestTree();
  const masks = new Map<string, number>();
  const shares = new Map<string, [string, string, number[], number[]]>();
  const setShare = (name: string, filter: string, shard: number, online: number, members: number): void => {
    const key = `${name}/${filter}`;
    const share = shares.get(key) ?? [name, filter, [0, 0, 0, 0], [0, 0, 0, 0]];
    share[2][shard] = online;
    share[3][shard] = members;
    if (share[3].every((count) => count === 0)) shares.delete(key);
    else shares.set(key, share);
  };
  const expectedMatch = (topic: string): Plain => {
    let mask = 0;
    for (const [filter, bits] of masks) if (matches(filter, topic)) mask |= bits;
    const groups = [...shares.values()].filter((share) => matches(share[1], topic));
    return { mask, shares: groups.map((share) => `${share[0]} ${share[1]} ${share[2]} ${share[3]}`).sort() };
  };
  for (let step = 0; step < 10_000; step++) {
    const topic = randomTopic(random);
    const before = tree.match(topic);
    const version = tree.version;
    const filter = randomFilter(random);
    const shard = random.next(SHARDS);
    const action = random.next(200);
    if (action < 70) {
      tree.add(filter, shard);
      masks.set(filter, (masks.get(filter) ?? 0) | (1 << shard));
    } else if (action < 130) {
      tree.remove(filter, shard);
      masks.set(filter, (masks.get(filter) ?? 0) & ~(1 << shard));
      if (masks.get(filter) === 0) masks.delete(filter);
    } else if (action < 199) {
      const name = random.pick(['g', 'h']);
      const members = random.next(3);
      const online = random.next(members + 1);
      tree.setShare(name, filter, shard, online, members);
      setShare(name, filter, shard, online, members);
    } else {
      tree.clearShard(shard);
      for (const [key, mask] of masks) {
        masks.set(key, mask & ~(1 << shard));
        if (masks.get(key) === 0) masks.delete(key);
      }
      for (const share of [...shares.values()]) setShare(share[0], share[1], shard, 0, 0);
    }
    assert.deepEqual(plainMatch(tree, topic), expectedMatch(topic), topic);
    assert.equal(tree.size, new Set([...masks.keys(), ...[...shares.values()].map((share) => share[1])]).size);
    if (tree.version === version) {
      const after = tree.match(topic);
      assert.equal(after.shardMask, before.shardMask);
      assert.deepEqual(new Set(after.shares), new Set(before.shares));
    }
    if (step % 1000 === 999) assertSnapshot(tree, random);
  }
});

function assertSnapshot(tree: InterestTree, random: Random): void {
  const copy = new InterestTree();
  for (let shard = 0; shard < SHARDS; shard++) {
    tree.forEachOf(shard, (filter, shareName, onlineCount, memberCount) => {
      if (shareName === '') copy.add(filter, shard);
      else copy.setShare(shareName, filter, shard, onlineCount, memberCount);
    });
  }
  assert.equal(copy.size, tree.size);
  for (let i = 0; i < 50; i++) {
    const topic = randomTopic(random);
    assert.deepEqual(plainMatch(copy, topic), plainMatch(tree, topic));
  }
}
