/*
 * Goal: a match names every subscriber of an ordinary subscription once, with the right options; first and last subscribers are told; the
 * version changes whenever a match does.
 * Method: small cases for each rule of the standard, and random operations against a plain list.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import type { Match, Subscription } from '../../src/routing/subscriptions.ts';
import { NO_SUBSCRIPTION, SubscriptionTree, UNSUBSCRIBED, UNSUBSCRIBED_LAST } from '../../src/routing/subscriptions.ts';
import { matches, Random, randomFilter, randomTopic } from './random-topics.ts';

interface Subscriber {
  readonly name: string;
}

type Options = Partial<Omit<Subscription<Subscriber>, 'subscriber' | 'filter'>>;

function subscriptionOf(subscriber: Subscriber, filter: string, options: Options = {}): Subscription<Subscriber> {
  return {
    subscriber,
    filter,
    shareName: '',
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    identifier: 0,
    ...options,
  };
}

interface PlainMatch {
  readonly name: string;
  readonly qos: number;
  readonly retainAsPublished: boolean;
  readonly identifiers: number[];
  readonly selfQos: number;
  readonly selfRetainAsPublished: boolean;
  readonly selfIdentifiers: number[];
}

function list(identifiers: Uint32Array | null, count: number): number[] {
  return [...(identifiers ?? [])].slice(0, count).sort((a, b) => a - b);
}

function plain(match: Match<Subscriber>): PlainMatch {
  return {
    name: match.subscriber.name,
    qos: match.qos,
    retainAsPublished: match.retainAsPublished,
    identifiers: list(match.identifiers, match.identifierCount),
    selfQos: match.selfQos,
    selfRetainAsPublished: match.selfRetainAsPublished,
    selfIdentifiers: list(match.selfIdentifiers, match.selfIdentifierCount),
  };
}

function byName(a: PlainMatch, b: PlainMatch): number {
  return a.name < b.name ? -1 : 1;
}

function matchOf(tree: SubscriptionTree<Subscriber>, topic: string): PlainMatch[] {
  return tree.match(topic).matches.map(plain).sort(byName);
}

const ann = { name: 'ann' };
const bob = { name: 'bob' };

describe('one subscriber, several filters that match', () => {
  test('one match: highest QoS, all identifiers, equal ones repeated [MQTT-3.3.4-2..5]', () => {
    const tree = new SubscriptionTree<Subscriber>();
    tree.subscribe(subscriptionOf(ann, 'a/b', { qos: 1, identifier: 5 }));
    tree.subscribe(subscriptionOf(ann, 'a/+', { qos: 2, identifier: 7 }));
    tree.subscribe(subscriptionOf(ann, 'a/#', { qos: 0, identifier: 7, retainAsPublished: true }));
    tree.subscribe(subscriptionOf(ann, '#', { qos: 0 }));
    const expected = { qos: 2, retainAsPublished: true, identifiers: [5, 7, 7] };
    assert.deepEqual(matchOf(tree, 'a/b'), [
      { name: 'ann', ...expected, selfQos: 2, selfRetainAsPublished: true, selfIdentifiers: [5, 7, 7] },
    ]);
  });

  test('No Local leaves its subscription out where the subscriber publishes [MQTT-3.8.3-3]', () => {
    const tree = new SubscriptionTree<Subscriber>();
    tree.subscribe(subscriptionOf(ann, 'a', { qos: 2, identifier: 1, noLocal: true, retainAsPublished: true }));
    assert.equal(tree.match('a').matches[0]!.selfQos, -1);
    tree.subscribe(subscriptionOf(ann, '+', { qos: 1, identifier: 2 }));
    const match = matchOf(tree, 'a')[0]!;
    assert.deepEqual([match.qos, match.identifiers, match.retainAsPublished], [2, [1, 2], true]);
    assert.deepEqual([match.selfQos, match.selfIdentifiers, match.selfRetainAsPublished], [1, [2], false]);
  });
});

test('a second SUBSCRIBE to the same filter replaces the options [MQTT-3.8.4-3]', () => {
  const tree = new SubscriptionTree<Subscriber>();
  assert.equal(tree.subscribe(subscriptionOf(ann, 'a', { qos: 2, identifier: 9 })), true);
  assert.equal(tree.subscribe(subscriptionOf(ann, 'a', { qos: 1 })), false);
  assert.equal(tree.count, 1);
  assert.equal(tree.match('a').matches[0]!.qos, 1);
  assert.equal(tree.match('a').matches[0]!.identifiers, null);
  assert.equal(tree.subscribe(subscriptionOf(bob, 'a')), false);
  assert.equal(tree.subscribe(subscriptionOf(bob, 'a', { qos: 2 })), false);
  assert.equal(tree.count, 2);
  assert.equal(tree.get(bob, 'a', '')!.qos, 2);
});

test('first and last of a filter, ordinary and shared kept apart', () => {
  const tree = new SubscriptionTree<Subscriber>();
  assert.equal(tree.subscribe(subscriptionOf(ann, 'a')), true);
  assert.equal(tree.subscribe(subscriptionOf(ann, 'a', { shareName: 'g' })), true);
  assert.equal(tree.subscribe(subscriptionOf(bob, 'a', { shareName: 'g' }), false), false);
  assert.equal(tree.subscribe(subscriptionOf(bob, 'a', { shareName: 'h' })), true);
  assert.equal(tree.count, 4);
  assert.deepEqual(
    matchOf(tree, 'a').map((match) => match.name),
    ['ann'],
  );
  const group = tree.groupOf('g', 'a')!;
  assert.deepEqual([group.onlineCount, group.memberCount], [1, 2]);
  const seen: unknown[] = [];
  tree.forEachFilter((...each) => seen.push(each.join(' ')));
  assert.deepEqual(seen, ['a  0 0', 'a g 1 2', 'a h 1 1']);
  assert.equal(tree.unsubscribe(bob, 'a', ''), NO_SUBSCRIPTION);
  assert.equal(tree.unsubscribe(ann, 'b', ''), NO_SUBSCRIPTION);
  assert.equal(tree.unsubscribe(ann, 'a', 'h'), NO_SUBSCRIPTION);
  assert.equal(tree.unsubscribe(ann, 'a', 'g'), UNSUBSCRIBED);
  assert.equal(tree.unsubscribe(bob, 'a', 'g'), UNSUBSCRIBED_LAST);
  assert.equal(tree.groupOf('g', 'a'), undefined);
  assert.equal(tree.unsubscribe(ann, 'a', ''), UNSUBSCRIBED_LAST);
  assert.equal(tree.count, 1);
});

test('against a plain list, random operations; an unchanged version means an unchanged match', () => {
  const random = new Random('SubscriptionTree');
  const subscribers = Array.from({ length: 30 }, (_, i) => ({ name: `s${i}` }));
  const tree = new SubscriptionTree<Subscriber>();
  let model: Subscription<Subscriber>[] = [];
  const sameGroup = (s: Subscription<Subscriber>, filter: string, shareName: string): boolean =>
    s.filter === filter && s.shareName === shareName;
  for (let step = 0; step < 4000; step++) {
    const topic = randomTopic(random);
    const before = matchOf(tree, topic);
    const version = tree.version;
    const subscriber = random.pick(subscribers);
    const filter = random.next(3) === 0 ? random.pick(['#', 'a', '+/#']) : randomFilter(random);
    const shareName = random.next(5) === 0 ? 'g' : '';
    const others = model.filter((s) => sameGroup(s, filter, shareName) && s.subscriber !== subscriber).length;
    const had = model.some((s) => sameGroup(s, filter, shareName) && s.subscriber === subscriber);
    if (random.next(100) < (Math.floor(step / 1000) % 2 === 0 ? 65 : 25)) {
      const options = { shareName, qos: random.next(3), identifier: random.next(4), noLocal: random.next(3) === 0 };
      const added = subscriptionOf(subscriber, filter, { ...options, retainAsPublished: random.next(2) === 0 });
      assert.equal(tree.subscribe(added), !had && others === 0);
      model = model.filter((s) => !(sameGroup(s, filter, shareName) && s.subscriber === subscriber));
      model.push(added);
      assert.equal(tree.get(subscriber, filter, shareName), added);
    } else {
      const expected = had ? (others === 0 ? UNSUBSCRIBED_LAST : UNSUBSCRIBED) : NO_SUBSCRIPTION;
      assert.equal(tree.unsubscribe(subscriber, filter, shareName), expected);
      model = model.filter((s) => !(sameGroup(s, filter, shareName) && s.subscriber === subscriber));
      assert.equal(tree.get(subscriber, filter, shareName), undefined);
    }
    assert.equal(tree.count, model.length);
    const after = matchOf(tree, topic);
    assert.deepEqual(after, plainMatch(model, topic), topic);
    if (tree.version === version) assert.deepEqual(after, before);
  }
});

function plainMatch(model: Subscription<Subscriber>[], topic: string): PlainMatch[] {
  const names = new Map<string, Subscription<Subscriber>[]>();
  for (const each of model) {
    if (each.shareName !== '' || !matches(each.filter, topic)) continue;
    names.set(each.subscriber.name, [...(names.get(each.subscriber.name) ?? []), each]);
  }
  const ids = (all: Subscription<Subscriber>[]): number[] =>
    all
      .map((s) => s.identifier)
      .filter((id) => id !== 0)
      .sort((a, b) => a - b);
  return [...names]
    .map(([name, all]) => {
      const self = all.filter((s) => !s.noLocal);
      return {
        name,
        qos: Math.max(...all.map((s) => s.qos)),
        retainAsPublished: all.some((s) => s.retainAsPublished),
        identifiers: ids(all),
        selfQos: Math.max(-1, ...self.map((s) => s.qos)),
        selfRetainAsPublished: self.some((s) => s.retainAsPublished),
        selfIdentifiers: ids(self),
      };
    })
    .sort(byName);
}

test('removing 50,000 subscribers of one filter does not take a walk over all of them each time', () => {
  const tree = new SubscriptionTree<Subscriber>();
  const subscribers = Array.from({ length: 50_000 }, (_, i) => ({ name: `${i}` }));
  const started = process.cpuUsage();
  for (const subscriber of subscribers) tree.subscribe(subscriptionOf(subscriber, 'a/b'));
  assert.equal(tree.match('a/b').matches.length, 50_000);
  for (const subscriber of subscribers) tree.unsubscribe(subscriber, 'a/b', '');
  assert.equal(tree.count, 0);
  // A walk each time would be 1.25 thousand million steps; this takes about 50 ms.
  assert.ok(process.cpuUsage(started).user < 1_500_000);
});
