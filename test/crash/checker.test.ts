/*
 * Goal: the judge of the crash campaign finds what it is there for, and accuses nobody who has done right.
 * Method: it is fed with histories by hand: each kind of broken promise, and beside each the harmless history that looks most like it.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { Checker, type Judgement } from './checker.ts';
import { contentOf } from './content.ts';

const STRICT: Judgement = { hasMailboxes: false, mayReorderResent: false };

/** A history in short words. One publisher, `p`. */
class History {
  readonly checker: Checker;
  private sequence = 0;

  constructor(judgement: Judgement = STRICT) {
    this.checker = new Checker(judgement);
  }

  /** CONNECT and CONNACK. */
  connect(clientId: string, isPresent: boolean, isClean = false, isDurable = true): void {
    this.checker.connecting(clientId, isClean, isDurable);
    this.checker.connected(clientId, isPresent);
  }

  subscribe(clientId: string, filter: string, qos = 2, identifier = 0): void {
    this.checker.subscribing(clientId, filter, identifier);
    this.checker.subscribed(clientId, filter, qos);
  }

  unsubscribe(clientId: string, filter: string): void {
    this.checker.unsubscribing(clientId, filter);
    this.checker.unsubscribed(clientId, filter);
  }

  /** A PUBLISH to the topic, or to the client that a P2P topic names; without answer. */
  send(topic: string, qos: 1 | 2 = 2, retain = false, payloadBytes = 30): string {
    const sequence = ++this.sequence;
    const id = `p/${sequence}`;
    const target = topic.startsWith('cmd/p2p/') ? topic.slice('cmd/p2p/'.length) : undefined;
    this.checker.publishing({ id, publisher: 'p', sequence, qos, topic, target, retain, payloadBytes }, 9);
    return id;
  }

  /** A PUBLISH and PUBACK or PUBREC. */
  sendAndAnswer(topic: string, qos: 1 | 2 = 2, code = 0): string {
    const id = this.send(topic, qos);
    this.checker.answered(id, code);
    return id;
  }

  receive(clientId: string, id: string, topic: string, qos = 2, identifiers: readonly number[] = [], payload = contentOf(id, 30)): void {
    this.checker.received(clientId, { topic, payload, qos, packetId: 1, isDup: false, identifiers });
  }

  /** Exactly one violation, which reads like this. */
  finds(pattern: RegExp): void {
    assert.equal(this.checker.violations.length, 1, this.checker.violations.join('\n'));
    assert.match(this.checker.violations[0]!, pattern);
  }

  findsNothing(): void {
    assert.deepEqual(this.checker.violations, []);
  }
}

function subscribed(judgement: Judgement = STRICT, qos = 2): History {
  const history = new History(judgement);
  history.connect('a', false);
  history.subscribe('a', 't/#', qos);
  return history;
}

describe('lost messages', () => {
  for (const [qos, word] of [
    [1, 'PUBACK'],
    [2, 'PUBREC'],
  ] as const) {
    test(`a message to a subscriber with ${word} must come`, () => {
      const history = subscribed();
      history.sendAndAnswer('t/1', qos);
      history.checker.drained(['a']);
      history.finds(/lost: a did not get p\/1 \(QoS \d, t\/1; sent as id 9 in round 0 \(event 5\), answered 0x00 in round 0 \(event 6\)\)/);
    });
  }

  test('a P2P message must come, and one that came is not lost', () => {
    const history = new History();
    history.connect('a', false);
    history.receive('a', history.sendAndAnswer('cmd/p2p/a'), 'cmd/p2p/a');
    history.sendAndAnswer('cmd/p2p/a');
    history.checker.drained(['a']);
    history.finds(/lost: a did not get p\/2/);
  });

  test('what came before its acknowledgement is not lost', () => {
    const history = subscribed();
    const id = history.send('t/1');
    history.receive('a', id, 't/1');
    history.checker.answered(id, 0);
    history.checker.drained(['a']);
    history.findsNothing();
  });

  test('nothing is promised without an answer, by a refusal, without SUBACK, or to who came later', () => {
    const history = new History();
    history.connect('a', false);
    history.checker.subscribing('a', 't/1', 0);
    history.sendAndAnswer('t/1');
    history.subscribe('a', 't/2');
    history.send('t/2');
    history.sendAndAnswer('t/2', 2, 0x97);
    const id = history.send('t/3');
    history.subscribe('a', 't/3');
    history.checker.answered(id, 0);
    history.sendAndAnswer('cmd/p2p/b', 1, 0x10);
    history.checker.drained(['a', 'b']);
    history.findsNothing();
  });

  test('a subscription that is being ended promises nothing, one that has ended gets nothing', () => {
    const history = subscribed();
    history.checker.unsubscribing('a', 't/#');
    const uncertain = history.sendAndAnswer('t/1');
    history.checker.unsubscribed('a', 't/#');
    const late = history.sendAndAnswer('t/1');
    history.receive('a', uncertain, 't/1');
    history.findsNothing();
    history.receive('a', late, 't/1');
    history.finds(/nobody asked for it: a had no subscription for p\/2/);
  });

  test('a mailbox keeps what comes before the first connection', () => {
    const history = new History({ ...STRICT, hasMailboxes: true });
    history.sendAndAnswer('cmd/p2p/a');
    history.connect('a', false);
    history.checker.drained(['a']);
    history.finds(/lost: a did not get p\/1/);
  });

  test('many lost messages are counted', () => {
    const history = subscribed();
    for (let count = 0; count < 12; count++) history.sendAndAnswer('t/1');
    history.checker.drained(['a']);
    assert.equal(history.checker.violations.length, 6);
    assert.match(history.checker.violations[5]!, /7 more/);
  });
});

describe('doubled messages', () => {
  test('QoS 2 comes once, whether acknowledged or not', () => {
    const history = subscribed();
    const id = history.send('t/1');
    history.receive('a', id, 't/1');
    history.findsNothing();
    history.checker.round = 3;
    history.receive('a', id, 't/1');
    history.finds(/round 3: doubled: a got twice at QoS 2 p\/1 .*never answered, arrived round 0 event \d+ QoS 2 id 1 and round 3 event/);
  });

  test('QoS 1 may come again, also as a QoS 2 message for a QoS 1 subscription', () => {
    const history = subscribed(STRICT, 1);
    for (const qos of [1, 2] as const) {
      const id = history.sendAndAnswer('t/1', qos);
      history.receive('a', id, 't/1', 1);
      history.receive('a', id, 't/1', 1);
    }
    history.findsNothing();
    assert.equal(history.checker.repeated, 2);
  });

  test('who has begun anew may get again what was never acknowledged', () => {
    const history = subscribed();
    const id = history.send('t/1');
    history.receive('a', id, 't/1');
    history.connect('a', false, true);
    history.subscribe('a', 't/#');
    history.receive('a', id, 't/1');
    history.findsNothing();
    history.receive('a', id, 't/1');
    history.finds(/doubled/);
  });

  test('a copy under a held Packet Identifier is no second message, another message is', () => {
    const history = subscribed();
    const id = history.sendAndAnswer('t/1');
    history.receive('a', id, 't/1');
    history.checker.receivedHeld('a', id, 1, contentOf(id, 30), true);
    history.findsNothing();
    history.checker.receivedHeld('a', id, 1, contentOf(history.sendAndAnswer('t/1'), 30), false);
    history.finds(/Packet Identifier used twice: a holds 1 for p\/1 until PUBREL and got p\/2/);
  });

  test('a copy without DUP is one too many', () => {
    const history = subscribed();
    const id = history.sendAndAnswer('t/1');
    history.receive('a', id, 't/1');
    history.checker.receivedHeld('a', id, 1, contentOf(id, 30), false);
    history.finds(/without DUP/);
  });
});

describe('order', () => {
  test('first arrivals keep the order of each QoS', () => {
    const history = subscribed();
    const [first, other, second] = [history.sendAndAnswer('t/1'), history.sendAndAnswer('t/1', 1), history.sendAndAnswer('t/1')];
    history.receive('a', second, 't/1');
    history.receive('a', other, 't/1', 1);
    history.findsNothing();
    history.receive('a', first, 't/1');
    history.finds(/reordered: a got p\/1 .* behind p\/3/);
  });

  test('a copy of an older QoS 1 message is not out of order', () => {
    const history = subscribed();
    const [first, second] = [history.sendAndAnswer('t/1', 1), history.sendAndAnswer('t/1', 1)];
    for (const id of [first, second, first, second]) history.receive('a', id, 't/1', 1);
    history.findsNothing();
  });

  test('who became a target between two sendings of a message may get it late', () => {
    const history = new History();
    history.connect('a', false);
    const [first, second] = [history.send('t/1', 1), history.send('t/1', 1)];
    history.subscribe('a', 't/#');
    history.receive('a', second, 't/1', 1);
    history.checker.publishingAgain(first);
    history.receive('a', first, 't/1', 1);
    history.findsNothing();
  });

  for (const mayReorderResent of [false, true]) {
    test(`a message that was sent again, behind a later one, ${mayReorderResent ? 'where a refusal closes the connection' : 'after a crash'}`, () => {
      const history = subscribed({ ...STRICT, mayReorderResent });
      const [first, second] = [history.send('t/1', 1), history.send('t/1', 1)];
      history.receive('a', second, 't/1', 1);
      history.checker.publishingAgain(first);
      history.receive('a', first, 't/1', 1);
      if (mayReorderResent) history.findsNothing();
      else history.finds(/reordered/);
    });
  }
});

describe('sessions', () => {
  test('a session that was confirmed must be there', () => {
    const history = new History();
    history.connect('a', false);
    history.connect('a', true);
    history.findsNothing();
    history.connect('a', false);
    history.finds(/missing session: a had a session and is told Session Present 0/);
  });

  test('a session without CONNACK may be there or not', () => {
    for (const isPresent of [false, true]) {
      const history = new History();
      history.checker.connecting('a', false, true);
      history.connect('a', isPresent);
      history.findsNothing();
    }
  });

  test('a session that never was cannot be there', () => {
    const history = new History();
    history.connect('a', true);
    history.finds(/a has no session and is told Session Present 1/);
  });

  test('a session that ended with its connection does not come back', () => {
    const history = new History();
    history.connect('a', false);
    history.connect('a', false, true, false);
    history.checker.disconnected('a');
    history.connect('a', true);
    history.finds(/a has no session any more and is told Session Present 1/);
  });

  test('a clean start finds no session and brings no message of the old one', () => {
    const history = subscribed();
    const id = history.sendAndAnswer('t/1');
    history.connect('a', false, true);
    history.checker.drained(['a']);
    history.findsNothing();
    history.subscribe('a', 't/#');
    history.receive('a', id, 't/1');
    assert.equal(history.checker.violations.length, 2, history.checker.violations.join('\n'));
    assert.match(history.checker.violations[1]!, /out of an ended session: a has begun anew since it was promised p\/1/);
  });

  test('subscriptions of an ended session are gone', () => {
    const history = subscribed();
    history.connect('a', false, true);
    history.receive('a', history.sendAndAnswer('t/1'), 't/1');
    history.finds(/nobody asked for it/);
  });

  test('Session Present 1 on a clean start', () => {
    const history = new History();
    history.connect('a', false);
    history.connect('a', true, true);
    history.finds(/clean start/);
  });
});

describe('contents', () => {
  test('a message keeps its bytes and its topic, and comes from a publisher', () => {
    const history = subscribed();
    const id = history.sendAndAnswer('t/1');
    const bytes = contentOf(id, 30);
    bytes[29]! ^= 1;
    history.receive('a', id, 't/2', 2, [], bytes);
    history.receive('a', 'q/1', 't/1');
    assert.deepEqual(
      history.checker.violations.map((text) => text.slice('round 0: '.length).split(':')[0]),
      ['another topic', 'another content', 'a message that nobody sent'],
    );
  });

  test('a P2P message goes to nobody else', () => {
    const history = subscribed();
    history.receive('a', history.sendAndAnswer('cmd/p2p/b', 1, 0x10), 'cmd/p2p/b', 1);
    history.finds(/a got a P2P message for another client/);
  });

  test('a subscription keeps its QoS and its Subscription Identifier', () => {
    const history = new History();
    history.connect('a', false);
    history.subscribe('a', 't/1', 2, 7);
    history.subscribe('a', 't/+', 1, 8);
    history.receive('a', history.sendAndAnswer('t/1'), 't/1', 2, [8, 7]);
    history.findsNothing();
    history.receive('a', history.sendAndAnswer('t/1'), 't/1', 1, [8]);
    assert.equal(history.checker.violations.length, 2);
    assert.match(history.checker.violations[0]!, /Subscription Identifier 7 and got \[8\]/);
    assert.match(history.checker.violations[1]!, /another QoS: a got at QoS 1 what is due at 2/);
  });
});

describe('retained messages', () => {
  function published(acknowledged: number, sent: number, cleared = 0): History {
    const history = new History();
    for (let number = 1; number <= sent; number++) {
      const id = history.send('r', 1, true, number === cleared ? 0 : 30);
      if (number <= acknowledged) history.checker.answered(id, 0);
    }
    return history;
  }

  test('the last acknowledged value, or a later one', () => {
    const history = published(2, 4);
    for (const number of [2, 3, 4]) history.checker.foundRetained('r', contentOf(`p/${number}`, 30));
    history.findsNothing();
    history.checker.foundRetained('r', contentOf('p/1', 30));
    history.finds(/stale retained value: r has p\/1 .*; it must have p\/2 or p\/3 or p\/4/);
  });

  test('a value that was acknowledged does not vanish', () => {
    const history = published(1, 2);
    history.checker.foundRetained('r', undefined);
    history.finds(/stale retained value: r has none; it must have p\/1 or p\/2/);
  });

  test('before the first acknowledgement there may be none', () => {
    const history = published(0, 1);
    history.checker.foundRetained('r', undefined);
    history.checker.foundRetained('r', contentOf('p/1', 30));
    history.findsNothing();
  });

  test('a value that was cleared does not come back', () => {
    const history = published(2, 2, 2);
    history.checker.foundRetained('r', undefined);
    history.findsNothing();
    history.checker.foundRetained('r', contentOf('p/1', 30));
    history.finds(/stale retained value: r has p\/1 .*; it must have none \(cleared\)/);
  });

  test('a value keeps its bytes', () => {
    const history = published(1, 1);
    history.checker.foundRetained('r', contentOf('p/1', 31));
    history.finds(/another content/);
  });
});
