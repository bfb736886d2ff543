/*
 * Goal: a link between two shards is first in, first out, whatever way a record takes (ring, overflow, large body); QoS 1 and 2 survive a peer's death once and in
 * order; a full link says so and recovers; a sleeper is woken.
 * Method: two meshes in one thread over real rings and a MessageChannel; a second thread for sleep and wake.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { describe, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { ringFrameBytesMax } from '../../src/base/ring.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { createLink } from '../../src/server/wiring.ts';
import type { Connection } from '../../src/shard/connection.ts';
import { COUNTERS, type CounterName } from '../../src/shard/counters.ts';
import type { Link, LinkWiring } from '../../src/shard/link.ts';
import { Mesh, readControl } from '../../src/shard/mesh.ts';
import { DELIVERED, FULL, NO_SUBSCRIBER, PendingAck } from '../../src/shard/outcome.ts';
import {
  RECORD_ACKS,
  RECORD_CONTROL,
  RECORD_HANDOFF,
  RECORD_P2P,
  RECORD_PUBLISH,
  RECORD_RESULT,
  RecordFields,
  readMessageRecord,
  recordKind,
} from '../../src/shard/record.ts';
import { Random } from '../routing/random-topics.ts';

const RING_BYTES = 2 ** 14;
const WAKE_BYTES = 128;
const noConnection = {} as Connection;

/** What one end has got: `kind:text` for each record. */
class End {
  readonly mesh: Mesh;
  readonly got: string[] = [];
  readonly counters: Float64Array = new Float64Array(COUNTERS.length);
  /** Whether message records count as handled, as the shard does. */
  takes = true;
  /** Result to send for a message, by its text. */
  readonly results: Map<string, number> = new Map();
  readonly done: PendingAck[] = [];
  private readonly view = new MessageView();
  private readonly fields = new RecordFields();

  constructor(index: number, wiring: (LinkWiring | null)[], wake: SharedArrayBuffer, ringBytes: number) {
    this.mesh = new Mesh(index, wiring, wake, ringBytes, this.counters, (link, word, bytes, at, end) =>
      this.handle(link, word, bytes, at, end),
    );
  }

  get peer(): number {
    return 1 - this.mesh.index;
  }

  get link(): Link {
    return this.mesh.links[this.peer]!;
  }

  count(name: CounterName): number {
    return this.counters[COUNTERS.indexOf(name)]!;
  }

  send(text: string, qos: number, ack: PendingAck | null = null): boolean {
    const view = new MessageView();
    view.qos = qos;
    view.topicBytes = utf8Bytes('t');
    view.topicEnd = 1;
    view.setPayload(utf8Bytes(text), 0, utf8Bytes(text).length);
    return this.mesh.sendMessage(this.peer, RECORD_PUBLISH, view, new RecordFields(), false, ack, qos > 0);
  }

  control(sequence: number): void {
    this.mesh.sendControl(this.peer, { kind: 'installed', sequence });
  }

  private handle(link: Link, word: number, bytes: Buffer, at: number, end: number): void {
    switch (recordKind(word)) {
      case RECORD_ACKS:
        this.mesh.acknowledge(link, bytes.readUInt32LE(at), (ack) => this.done.push(ack));
        return;
      case RECORD_RESULT:
        this.mesh.noteResult(link, bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4));
        return;
      case RECORD_CONTROL: {
        const control = readControl(bytes, at, end);
        if (control.kind === 'jumbo-taken') link.jumboOutstanding -= control.count;
        else if (control.kind === 'installed') this.got.push(`#${control.sequence}`);
        return;
      }
      case RECORD_HANDOFF:
        this.got.push(`fd ${bytes.readUInt32LE(at)}`);
        return;
      default: {
        readMessageRecord(bytes, at, word, this.view, this.fields);
        const text = bytes.toString('utf8', this.view.payloadAt, this.view.payloadEnd);
        this.got.push(text);
        if (this.fields.sequence === 0 || !this.takes) return;
        link.takenSequence = this.fields.sequence;
        const result = this.results.get(text);
        if (result !== undefined) this.mesh.sendResult(link, this.fields.sequence, result, bytes, 0, 0);
      }
    }
  }
}

function pair(t: TestContext, ringBytes = RING_BYTES): { a: End; b: End; wake: SharedArrayBuffer } {
  const link = createLink(ringBytes);
  const wake = new SharedArrayBuffer(WAKE_BYTES);
  const a = new End(0, [null, link.a], wake, ringBytes);
  const b = new End(1, [link.b, null], wake, ringBytes);
  t.after(() => {
    a.link.port.close();
    b.link.port.close();
  });
  return { a, b, wake };
}

/** Turns of both ends until nothing is under way. */
function run(...ends: End[]): void {
  for (let quiet = 0, turns = 0; quiet < 3; turns++) {
    assert.ok(turns < 10_000, 'the link comes to rest');
    for (const end of ends) {
      end.mesh.drain();
      end.mesh.publish();
    }
    quiet = ends.some((end) => end.mesh.hasWork || end.mesh.hasOverflow) ? 0 : quiet + 1;
  }
}

/** A text of this many bytes that begins with its number. */
const textOf = (number: number, length: number): string => String(number).padEnd(length, '.');

describe('order', () => {
  test('through ring, overflow and large bodies, with all kinds of records between each other', (t) => {
    const random = new Random('Mesh order');
    for (let round = 0; round < 20; round++) {
      const { a, b } = pair(t);
      const expected: string[] = [];
      const steps = 300;
      for (let i = 0; i < steps; i++) {
        switch (random.next(8)) {
          case 0:
            a.control(i + 1);
            expected.push(`#${i + 1}`);
            break;
          case 1:
            assert.equal(a.mesh.sendHandoff(1, i, utf8Bytes('p:1'), utf8Bytes('CONNECT')), true);
            expected.push(`fd ${i}`);
            break;
          case 2: {
            // Around the size from which a body goes beside the ring.
            const text = textOf(i, ringFrameBytesMax(RING_BYTES) - 60 + random.next(40));
            a.send(text, 1);
            expected.push(text);
            break;
          }
          default: {
            const text = textOf(i, 4 + random.next(100));
            if (a.send(text, random.next(3))) expected.push(text);
          }
        }
        if (random.next(60) === 0) a.mesh.publish();
        if (random.next(90) === 0) b.mesh.drain();
        if (random.next(50) === 0) b.mesh.publish();
      }
      run(a, b);
      assert.deepEqual(b.got, expected);
      assert.ok(round > 0 || (a.count('ring/full') > 0 && a.count('ring/frames/jumbo') > 0));
      assert.deepEqual(
        [a.link.unacked.count, a.link.unackedBytes, a.link.overflow.count, a.link.overflowBytes, a.link.jumboOutstanding],
        [0, 0, 0, 0, 0],
      );
      assert.equal(a.mesh.isCongested, false);
    }
  });

  test('a body of one megabyte arrives whole', (t) => {
    const { a, b } = pair(t);
    const text = 'x'.repeat(2 ** 20);
    a.send('before', 1);
    a.send(text, 0);
    a.send('after', 1);
    run(a, b);
    assert.deepEqual(
      b.got.map((got) => got.length),
      [6, 2 ** 20, 5],
    );
    assert.equal(b.got[1], text);
  });
});

describe('acknowledgements', () => {
  test('an answer up to a number completes all before it; a result alone completes nothing', (t) => {
    const { a, b } = pair(t);
    const acks = ['one', 'two', 'three', 'four'].map((text, i) => {
      const ack = new PendingAck(noConnection, null, i + 1, 1, false);
      ack.remaining = 1;
      a.send(text, 1, ack);
      return ack;
    });
    b.results.set('two', FULL);
    b.results.set('three', DELIVERED);
    a.mesh.publish();
    b.mesh.drain();
    assert.equal(a.done.length, 0);
    run(a, b);
    assert.deepEqual(a.done, acks);
    assert.deepEqual(
      acks.map((ack) => [ack.remaining, ack.wasTaken, ack.worst]),
      [
        [0, true, 0],
        [0, false, FULL],
        [0, true, 0],
        [0, true, 0],
      ],
    );
  });

  test('results find their message while the sequence wraps', (t) => {
    const { a, b } = pair(t);
    const link = a.link;
    link.nextSequence = 0xffffffff - 5;
    const acks: PendingAck[] = [];
    for (let i = 0; i < 12; i++) {
      const ack = new PendingAck(noConnection, null, i + 1, 1, false);
      ack.remaining = 1;
      acks.push(ack);
      a.send(`m${i}`, 1, ack);
      if (i % 2 === 0) b.results.set(`m${i}`, NO_SUBSCRIBER);
    }
    assert.equal(link.nextSequence, 7, '0 means that nobody waits, so it is left out');
    run(a, b);
    assert.deepEqual(a.done, acks);
    assert.deepEqual(
      acks.map((ack) => ack.worst),
      acks.map((_, i) => (i % 2 === 0 ? NO_SUBSCRIBER : 0)),
    );
    assert.equal(a.mesh.noteResult(link, 1, FULL), null, 'a result without its message is nobody’s');
  });
});

describe('death and return of a peer', () => {
  /** Puts a fresh end in the place of the dead one. */
  function restart(a: End, wake: SharedArrayBuffer): End {
    const link = createLink(RING_BYTES);
    a.mesh.peerRestarted(1, link.a, false);
    return new End(1, [link.b, null], wake, RING_BYTES);
  }

  test('what was not answered is sent again, once and in order; what was answered is not', (t) => {
    const { a, b, wake } = pair(t);
    const acks: PendingAck[] = [];
    const send = (text: string): void => {
      const ack = new PendingAck(noConnection, null, acks.length + 1, 1, false);
      ack.remaining = 1;
      acks.push(ack);
      a.send(text, 1, ack);
    };
    send('answered');
    run(a, b);
    b.takes = false;
    for (let i = 0; i < 200; i++) send(textOf(i, 100));
    send(textOf(200, 10_000));
    a.send('lost at QoS 0', 0);
    a.mesh.publish();
    b.mesh.drain();
    a.mesh.peerDied(1);
    assert.equal(a.link.overflow.count, 0);
    assert.equal(a.send('nobody there', 0), false);
    assert.equal(a.mesh.sendHandoff(1, 5, utf8Bytes('p'), utf8Bytes('c')), false);
    a.control(9);
    send('while away');
    a.mesh.publish();
    const heir = restart(a, wake);
    a.control(10);
    a.mesh.resend(1);
    run(a, heir);
    assert.deepEqual(heir.got, ['#10', ...Array.from({ length: 200 }, (_, i) => textOf(i, 100)), textOf(200, 10_000), 'while away']);
    assert.deepEqual(a.done, acks);
    assert.ok(acks.every((ack) => ack.remaining === 0 && ack.wasTaken));
    assert.deepEqual([a.link.unacked.count, a.link.unackedBytes, a.link.jumboOutstanding], [0, 0, 0]);
    heir.link.port.close();
  });

  test('the answers of a dead peer count, however many there are', (t) => {
    const { a, b, wake } = pair(t, 2 ** 18);
    const count = 3000;
    for (let i = 0; i < count; i++) {
      a.send(`m${i}`, 1);
      a.mesh.publish();
      b.mesh.drain();
      b.mesh.publish();
    }
    assert.equal(a.link.unacked.count, count);
    a.mesh.peerDied(1);
    assert.equal(a.link.unacked.count, 0, 'nothing that was answered is sent again');
    const heir = restart(a, wake);
    a.mesh.resend(1);
    run(a, heir);
    assert.deepEqual(heir.got, []);
    heir.link.port.close();
  });

  test('a large body that a peer sent before it died is delivered', async (t) => {
    const { a, b } = pair(t);
    b.send('y'.repeat(10_000), 1);
    b.send('last', 1);
    b.mesh.publish();
    b.link.port.close();
    // Until the close has reached this end.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    a.mesh.peerDied(1);
    assert.deepEqual(
      a.got.map((got) => got.length),
      [10_000, 4],
    );
  });
});

describe('congestion', () => {
  test('a full ring turns it on, a drained one off', (t) => {
    const { a, b } = pair(t);
    let sent = 0;
    while (!a.mesh.isCongested) a.send(textOf(sent++, 200), 1);
    assert.ok(a.link.overflowBytes > RING_BYTES);
    a.mesh.publish();
    assert.equal(a.mesh.isCongested, true, 'a publish alone does not help');
    run(a, b);
    assert.equal(a.mesh.isCongested, false);
    assert.equal(b.got.length, sent);
  });

  test('QoS 0 is dropped before it fills memory, QoS 1 is not', (t) => {
    const { a, b } = pair(t);
    let dropped = 0;
    for (let i = 0; i < 2000; i++) if (!a.send(textOf(i, 200), 0)) dropped++;
    assert.ok(dropped > 0 && a.link.overflowBytes < RING_BYTES * 5);
    assert.equal(a.send('kept', 1), true);
    run(a, b);
    assert.equal(b.got.length, 2001 - dropped);
    assert.equal(b.got.at(-1), 'kept');
  });

  test('large bodies under way turn it on', (t) => {
    const { a, b } = pair(t);
    for (let i = 0; i < 9; i++) a.send('z'.repeat(5000), 0);
    assert.equal(a.mesh.isCongested, true);
    run(a, b);
    assert.equal(a.mesh.isCongested, false);
    assert.equal(b.got.length, 9);
  });

  test('messages for a dead peer turn it on, and it stays on until the heir has answered', (t) => {
    const { a, wake } = pair(t);
    a.mesh.peerDied(1);
    let sent = 0;
    while (!a.mesh.isCongested) a.send(textOf(sent++, 1000), 1);
    for (let i = 0; i < 3; i++) {
      a.mesh.publish();
      assert.equal(a.mesh.isCongested, true);
    }
    const link = createLink(RING_BYTES);
    a.mesh.peerRestarted(1, link.a, false);
    const heir = new End(1, [link.b, null], wake, RING_BYTES);
    a.mesh.resend(1);
    run(a, heir);
    assert.equal(heir.got.length, sent);
    assert.equal(a.mesh.isCongested, false);
    heir.link.port.close();
  });
});

test('the kind of a P2P record travels in its word', (t) => {
  const { a, b } = pair(t);
  const view = new MessageView();
  view.qos = 1;
  let seen = 0;
  const end = new Mesh(
    1,
    [b.link, null].map(() => null),
    new SharedArrayBuffer(WAKE_BYTES),
    RING_BYTES,
    b.counters,
    () => {},
  );
  assert.equal(end.hasWork, false);
  a.mesh.sendMessage(1, RECORD_P2P, view, new RecordFields(), true, null, true);
  a.mesh.publish();
  assert.ok(b.link.consumer.next());
  seen = recordKind(b.link.consumer.frameType);
  assert.equal(seen, RECORD_P2P);
});

describe('sleep and wake', () => {
  test('a shard does not sleep over a frame, and a frame wakes a sleeper', async (t) => {
    const { a, b } = pair(t);
    let wakes = 0;
    const woken = new Promise<void>((resolve) => {
      b.control(1);
      b.mesh.publish();
      assert.equal(
        a.mesh.sleep(() => assert.fail('it did not sleep')),
        false,
      );
      a.mesh.drain();
      assert.equal(
        a.mesh.sleep(() => {
          wakes++;
          resolve();
        }),
        true,
      );
    });
    // Awake for another reason and asleep again: the same waiter serves.
    a.mesh.stayAwake();
    b.control(2);
    b.mesh.publish();
    assert.equal(b.count('ring/wakes'), 0, 'who is awake is not notified');
    a.mesh.drain();
    assert.equal(
      a.mesh.sleep(() => wakes++),
      true,
    );
    b.control(3);
    b.mesh.publish();
    b.control(4);
    b.mesh.publish();
    assert.equal(b.count('ring/wakes'), 1);
    // Until the notification has come; the test runner bounds the wait.
    const alive = setInterval(() => {}, 1000);
    await woken;
    clearInterval(alive);
    assert.equal(wakes, 1);
    a.mesh.drain();
    assert.deepEqual(a.got, ['#1', '#2', '#3', '#4']);
  });

  test('two threads that sleep between messages play a thousand of them back and forth', async () => {
    const link = createLink(RING_BYTES);
    const wake = new SharedArrayBuffer(WAKE_BYTES);
    const worker = new Worker(new URL('./mesh-peer.js', import.meta.url), {
      workerData: { link: link.b, wake, ringBytes: RING_BYTES },
      transferList: [link.b.port],
    });
    const ended = once(worker, 'exit');
    const a = new End(0, [null, link.a], wake, RING_BYTES);
    const rounds = 1000;
    const alive = setInterval(() => {}, 1000);
    await new Promise<void>((resolve) => {
      let next = 1;
      const turn = (): void => {
        a.mesh.stayAwake();
        a.mesh.drain();
        if (a.got.length >= next - 1) {
          if (next > rounds) {
            a.control(0);
            a.mesh.publish();
            resolve();
            return;
          }
          a.control(next++);
        }
        a.mesh.publish();
        if (!a.mesh.sleep(turn)) setImmediate(turn);
      };
      turn();
    });
    clearInterval(alive);
    assert.deepEqual(await ended, [0]);
    link.a.port.close();
    assert.deepEqual(
      a.got,
      Array.from({ length: rounds }, (_, i) => `#${i + 1}`),
    );
    assert.ok(a.count('ring/wakes') > 0);
  });
});
