/*
 * Goal: the TLS connection keeps the contract of a channel whatever a peer does: bytes in any pieces, records of every size, a reader that stops in the middle, new keys,
 * renegotiation, garbage, a handshake that is cut, a peer that does not read; every call in every state. Each SSL is freed once, nothing is called after it, and nothing
 * is left in memory.
 * Method: channels over real sockets of this process, with an OpenSSL client that sends what it likes; calls of OpenSSL are counted and watched.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import test, { after, before, beforeEach, describe } from 'node:test';
import { library } from '../../src/base/c-library.ts';
import { type OpenSsl, openSsl } from '../../src/base/open-ssl.ts';
import { loadSettings } from '../../src/server/config.ts';
import type { ChannelEvents } from '../../src/shard/channel.ts';
import { COUNTERS, type CounterName } from '../../src/shard/counters.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { moved } from '../../src/transports/accept.ts';
import { TICKET_KEYS_BYTES } from '../../src/transports/certificates.ts';
import { Gate } from '../../src/transports/gate.ts';
import { TlsChannel, type TlsPlace } from '../../src/transports/tls-channel.ts';
import { TlsContexts } from '../../src/transports/tls-context.ts';
import { tlsEngine } from '../../src/transports/tls-engine.ts';
import { Authority, pem } from '../support/certificates.ts';
import { nextTurn, OpenSslClient } from '../support/open-ssl-client.ts';
import { ShardGroup } from '../support/shard-group.ts';

const authority = new Authority('tls-channel');
const pair = authority.issue('localhost', ['DNS:localhost']);
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

class Listener implements ChannelEvents {
  readonly channel: TlsChannel;
  received_ = Buffer.alloc(0);
  lostCount = 0;
  drainedCount = 0;
  /** After each `received`. */
  readonly pieces: number[] = [];
  onReceived: (bytes: Buffer) => boolean = () => true;
  onDrained: () => void = () => {};
  private isInside = false;

  constructor(channel: TlsChannel) {
    this.channel = channel;
  }

  received(bytes: Uint8Array, length: number): boolean {
    assert.equal(this.lostCount, 0);
    const copy = Buffer.from(bytes.subarray(0, length));
    this.received_ = Buffer.concat([this.received_, copy]);
    this.pieces.push(length);
    this.isInside = true;
    const isWanted = this.onReceived(copy);
    this.isInside = false;
    return isWanted;
  }

  drained(): void {
    this.drainedCount++;
    this.onDrained();
  }

  lost(reason: string): void {
    assert.equal(reason, 'tls_closed');
    assert.ok(!this.isInside, 'never from within a call');
    this.lostCount++;
  }
}

let group: ShardGroup;
let shard: Shard;
let place: TlsPlace;
let server: net.Server;
let port: number;
let sendBufferBytes = 0;
const channels: TlsChannel[] = [];
const live = new Set<number>();
let opened = 0;

/** Every SSL of the channels is in `live` from SSL_new to SSL_free; the client's own are not watched. */
function watchCalls(ssl: OpenSsl): void {
  const calls = ssl as unknown as Record<string, (...given: unknown[]) => unknown>;
  const { SSL_new, SSL_free, SSL_set_accept_state } = calls;
  const all = new Set<number>();
  calls['SSL_new'] = (context) => {
    const made = SSL_new!(context) as number;
    all.add(made);
    return made;
  };
  calls['SSL_set_accept_state'] = (made) => {
    live.add(made as number);
    opened++;
    return SSL_set_accept_state!(made);
  };
  calls['SSL_free'] = (made) => {
    assert.ok(all.delete(made as number), 'freed once');
    live.delete(made as number);
    return SSL_free!(made);
  };
  for (const name of ['SSL_do_handshake', 'SSL_shutdown', 'SSL_set0_wbio']) {
    const call = calls[name]!;
    calls[name] = (made, ...more) => {
      assert.ok(all.has(made as number), `${name} of what is free`);
      return call(made, ...more);
    };
  }
  const engine = tlsEngine()! as unknown as Record<string, (...given: unknown[]) => unknown>;
  for (const name of ['sslRead', 'sslWrite', 'sslWant']) {
    const call = engine[name]!;
    engine[name] = (made: unknown, ...more: unknown[]) => {
      assert.ok(all.has(made as number), `${name} of what is free`);
      return call(made, ...more);
    };
  }
}

before(async () => {
  watchCalls(openSsl()!);
  const { chain, key } = pair;
  const listeners = JSON.stringify([{ type: 'tls', bind: '127.0.0.1:0', tls: { certificates: [{ chain, key }] } }]);
  group = new ShardGroup(await loadSettings({ shards: '1', set: ['store.enabled=false', `listeners=${listeners}`] }));
  shard = group.shards[0]!;
  const gate = new Gate(shard, 0, new SharedArrayBuffer(8));
  const engine = tlsEngine()!;
  place = { gate, engine, contexts: contextsOf(gate, pem(chain)) };
  server = net.createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
    const opening = gate.open('test', () => socket.destroy());
    if (opening === null) return void socket.destroy();
    const fd = moved(socket);
    if (sendBufferBytes > 0) {
      const value = new Uint8Array(Uint32Array.of(sendBufferBytes).buffer);
      assert.equal(library()!.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4), 0);
    }
    const channel = new TlsChannel(place, opening, fd);
    opening.closes(() => channel.destroy());
    channels.push(channel);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as net.AddressInfo).port;
});
after(async () => {
  server.close();
  place.contexts.free();
  assert.equal(live.size, 0);
});
beforeEach(() => {
  channels.length = 0;
  sendBufferBytes = 0;
});

function contextsOf(gate: Gate, chain: string): TlsContexts {
  const files = { certificates: [{ chain, key: pem(pair.key) }], ca: '', crl: '' };
  return new TlsContexts(tlsEngine()!, gate.settings.tls!, files, Buffer.alloc(TICKET_KEYS_BYTES, 1), 'test');
}

function count(name: CounterName): number {
  return shard.counters[COUNTERS.indexOf(name)]!;
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await nextTurn();
}

/** A connection after its handshake. */
async function scene(isOld = false): Promise<{ client: OpenSslClient; channel: TlsChannel; listener: Listener }> {
  const done = count('handshakes/done');
  const client = await OpenSslClient.dial(port, isOld);
  assert.ok(await client.shake());
  await until(() => count('handshakes/done') === done + 1);
  const channel = channels.at(-1)!;
  const listener = new Listener(channel);
  channel.events.lost('');
  channel.events = listener;
  return { client, channel, listener };
}

async function over({ client, listener }: { client: OpenSslClient; listener: Listener }): Promise<void> {
  client.socket.destroy();
  await until(() => listener.lostCount === 1);
  assert.equal(live.size, 0);
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

for (const isOld of [false, true]) {
  describe(isOld ? 'TLS 1.2' : 'TLS 1.3', () => {
    test('a handshake and records that come byte by byte', async () => {
      const client = await OpenSslClient.dial(port, isOld);
      client.step();
      while (!client.isShaken) {
        await client.flushInPieces(1);
        await nextTurn();
      }
      await client.flushInPieces(1);
      await until(() => count('connections/opening') === 1 && channels.length === 1);
      const channel = channels[0]!;
      const listener = new Listener(channel);
      channel.events.lost('');
      channel.events = listener;
      client.put(Buffer.from('hello'));
      client.put(Buffer.from('world'));
      await client.flushInPieces(1);
      await until(() => listener.received_.length === 10);
      assert.equal(listener.received_.toString(), 'helloworld');
      assert.ok(channel.write(Buffer.from('answer'), 6));
      await client.until(() => client.received.length === 6);
      await over({ client, listener });
    });

    test('many records in one piece, records of every size, and five megabytes each way', async () => {
      const { client, channel, listener } = await scene(isOld);
      let sent = Buffer.alloc(0);
      for (const size of [1, 100, 16_383, 16_384, 16_385, 1, 40_000, 7]) {
        const bytes = pattern(size);
        client.put(bytes);
        sent = Buffer.concat([sent, bytes]);
      }
      client.flush();
      await until(() => listener.received_.length === sent.length);
      assert.ok(listener.received_.equals(sent));
      assert.equal(Math.max(...listener.pieces), 16_384);
      const large = pattern(5_000_000);
      client.send(large);
      await until(() => listener.received_.length === sent.length + large.length);
      assert.ok(listener.received_.subarray(sent.length).equals(large));
      channel.write(large, large.length);
      await client.until(() => client.received.length === large.length);
      assert.ok(client.received.equals(large));
      await over({ client, listener });
    });

    test('a reader that stops after any record loses nothing', async () => {
      const { client, channel, listener } = await scene(isOld);
      let isStopped = false;
      listener.onReceived = (bytes) => {
        assert.ok(!isStopped, 'not while it is stopped');
        isStopped = bytes[0]! % 3 !== 0;
        if (bytes[0]! % 3 === 1) channel.pause();
        if (isStopped)
          setImmediate(() => {
            isStopped = false;
            channel.resume();
            channel.resume();
          });
        return bytes[0]! % 3 !== 2;
      };
      for (let i = 0; i < 200; i++) client.put(Buffer.alloc(i, i));
      client.flush();
      await until(() => listener.received_.length === (199 * 200) / 2);
      for (let i = 1, at = 0; i < 200; at += i, i++) assert.ok(listener.received_.subarray(at, at + i).every((byte) => byte === i));
      await over({ client, listener });
    });

    test('a peer that does not read: the block is kept, everything arrives, and writes go straight again', async () => {
      sendBufferBytes = 8192;
      const { client, channel, listener } = await scene(isOld);
      client.socket.pause();
      const block = pattern(60_000);
      let written = 0;
      const fill = (): void => {
        for (;;) {
          const isTaken = channel.write(block, block.length);
          written++;
          if (!isTaken) break;
        }
      };
      fill();
      assert.equal(listener.drainedCount, 0);
      let rounds = 0;
      listener.onDrained = () => {
        // It is the channel's no more.
        if (rounds++ < 20) fill();
      };
      client.socket.resume();
      await until(() => rounds === 21);
      await client.until(() => client.received.length === written * block.length);
      for (let i = 0; i < written; i++) assert.ok(client.received.subarray(i * block.length, (i + 1) * block.length).equals(block));
      assert.ok(channel.write(block, 10));
      await client.until(() => client.received.length === written * block.length + 10);
      await over({ client, listener });
    });

    test('the goodbye arrives, also behind a block that waits; then close_notify; then nothing is heard', async () => {
      for (const isBlocked of [false, true]) {
        sendBufferBytes = isBlocked ? 8192 : 0;
        const { client, channel, listener } = await scene(isOld);
        if (isBlocked) client.socket.pause();
        const block = pattern(isBlocked ? 3_000_000 : 30);
        assert.equal(channel.write(block, block.length), !isBlocked);
        channel.end();
        channel.end();
        assert.ok(channel.write(block, block.length), 'what comes later is nobody’s');
        client.socket.resume();
        await client.until(() => client.isToldEnd);
        assert.equal(client.received.length, block.length);
        client.send(Buffer.from('too late'));
        await nextTurn();
        assert.equal(listener.received_.length, 0);
        await over({ client, listener });
      }
    });

    test('the peer says that it is the end', async () => {
      const { client, listener } = await scene(isOld);
      client.put(Buffer.from('last'));
      client.sayEnd();
      await until(() => listener.lostCount === 1);
      assert.equal(listener.received_.toString(), 'last');
      await client.closed;
      assert.equal(live.size, 0);
    });

    test('every call in every state, from outside and from within', async () => {
      type Call = (channel: TlsChannel) => void;
      const calls: Call[] = [
        (channel) => channel.pause(),
        (channel) => channel.resume(),
        (channel) => channel.write(Buffer.from('x'), 1),
        (channel) => channel.write(pattern(100_000), 100_000),
        (channel) => channel.end(),
        (channel) => channel.destroy(),
      ];
      for (const first of calls) {
        for (const second of calls) {
          for (const isWithin of [false, true]) {
            const { client, channel, listener } = await scene(isOld);
            const both = (): void => {
              first(channel);
              second(channel);
            };
            let isCalled = false;
            listener.onReceived = () => {
              if (isWithin && !isCalled) both();
              isCalled = true;
              return true;
            };
            client.put(Buffer.from('one'));
            client.put(Buffer.from('two'));
            client.flush();
            if (isWithin) await until(() => isCalled || listener.lostCount > 0);
            else both();
            await nextTurn();
            second(channel);
            // One that does not read would not see the client go.
            channel.destroy();
            await over({ client, listener });
            both();
          }
        }
      }
    });

    test('before the handshake is done it is closed at any moment', async () => {
      for (const stage of [0, 1]) {
        for (const call of ['end', 'destroy'] as const) {
          const client = await OpenSslClient.dial(port, isOld);
          client.step();
          const hello = client.outgoing();
          client.socket.pause();
          if (stage === 1) client.socket.write(hello);
          const openedBefore = opened;
          await until(() => channels.length > 0 && (stage === 0 || opened > openedBefore));
          channels.at(-1)![call]();
          client.socket.resume();
          client.socket.end();
          await client.closed;
          await until(() => count('connections/opening') === 0);
          assert.equal(live.size, 0);
          channels.length = 0;
        }
      }
    });

    test('a handshake that is cut after any byte', async () => {
      const whole = await OpenSslClient.dial(port, isOld);
      whole.step();
      const { length } = whole.outgoing();
      whole.socket.destroy();
      for (let cut = 0; cut <= length; cut += 7) {
        const client = await OpenSslClient.dial(port, isOld);
        client.step();
        client.socket.end(client.outgoing().subarray(0, cut));
        await client.closed;
      }
      await until(() => count('connections/opening') === 0);
      assert.equal(live.size, 0);
    });

    test('garbage at every place ends the connection, and only that', async () => {
      const witness = await scene(isOld);
      const failed = count('handshakes/failed');
      const first = await OpenSslClient.dial(port, isOld);
      first.socket.write(pattern(3000));
      await first.closed;
      const second = await OpenSslClient.dial(port, isOld);
      second.step();
      second.socket.write(Buffer.concat([second.outgoing(), pattern(100_000)]));
      await second.closed;
      const third = await OpenSslClient.dial(port, isOld);
      third.step();
      const changed = third.outgoing();
      // A length inside the ClientHello.
      changed[43] = 0xff;
      third.socket.write(changed);
      await third.closed;
      assert.equal(count('handshakes/failed'), failed + 3);
      for (const bytes of [
        pattern(70_000),
        Buffer.from('1703030000', 'hex'),
        Buffer.from('170303ffff', 'hex'),
        Buffer.from('15030300020100', 'hex'),
      ]) {
        const { client, listener } = await scene(isOld);
        client.put(Buffer.from('good'));
        client.socket.write(Buffer.concat([client.outgoing(), bytes, pattern(40_000)]));
        await until(() => listener.lostCount === 1);
        assert.equal(listener.received_.toString(), 'good');
        await client.closed;
      }
      witness.client.send(Buffer.from('still here'));
      await until(() => witness.listener.received_.length === 10);
      await over(witness);
    });

    test('a handshake towards a peer that does not read goes on when it does', async () => {
      sendBufferBytes = 2304;
      const usual = place.contexts;
      // A chain of more than the kernel takes for a peer that does not read.
      place.contexts = contextsOf(place.gate, `${pem(pair.chain)}${pem(authority.root).repeat(2000)}`);
      const done = count('handshakes/done');
      const client = await OpenSslClient.dial(port, isOld);
      client.socket.pause();
      client.step();
      client.flush();
      const openedBefore = opened;
      await until(() => opened > openedBefore);
      place.contexts.free();
      place.contexts = usual;
      assert.notEqual((channels.at(-1) as unknown as { gathering: number }).gathering, 0);
      client.socket.resume();
      await client.until(() => client.isShaken || client.isBroken);
      assert.ok(client.isShaken);
      await until(() => count('handshakes/done') === done + 1);
      const channel = channels.at(-1)!;
      const listener = new Listener(channel);
      channel.events.lost('');
      channel.events = listener;
      client.send(Buffer.from('here'));
      await until(() => listener.received_.length === 4);
      channel.write(Buffer.from('there'), 5);
      await client.until(() => client.received.length === 5);
      await over({ client, listener });
    });
  });
}

test('new keys, asked for by the client as often as it likes', async () => {
  const { client, channel, listener } = await scene();
  for (let i = 1; i <= 20; i++) {
    client.updateKeys(i % 2 === 0);
    client.send(Buffer.from([i]));
    await until(() => listener.received_.length === i);
    assert.ok(channel.write(Buffer.from([i]), 1));
    await client.until(() => client.received.length === i);
  }
  assert.ok(!client.isBroken);
  await over({ client, listener });
});

test('renegotiation is refused, also to a client that does not read', async () => {
  const { client, listener } = await scene(true);
  client.renegotiate();
  client.flush();
  await client.until(() => client.isBroken);
  await over({ client, listener });
  sendBufferBytes = 4096;
  const rude = await scene(true);
  rude.client.socket.pause();
  rude.client.renegotiate();
  const hello = rude.client.outgoing();
  assert.ok(hello.length > 0);
  rude.client.socket.write(hello);
  await nextTurn();
  await over(rude);
});

test('thousands of connections leave nothing behind', async () => {
  const one = async (index: number): Promise<void> => {
    const client = await OpenSslClient.dial(port, index % 2 === 0);
    if (index % 5 === 0) client.socket.end(pattern(index % 400));
    else {
      await client.shake();
      client.send(pattern(index % 3000));
      if (index % 3 === 0) client.sayEnd();
      else client.socket.end();
    }
    client.socket.resume();
    await client.closed;
  };
  const many = async (): Promise<void> => {
    for (let round = 0; round < 30; round++) await Promise.all(Array.from({ length: 40 }, (_, index) => one(index)));
    await until(() => count('connections/opening') === 0 && live.size === 0);
    channels.length = 0;
    shard.timers.advance();
  };
  await many();
  // An SSL that stayed would be 15 KB each time, 14 MB a round; the heap of JavaScript grows now and then.
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round++) {
    const first = residentBytes();
    await many();
    least = Math.min(least, residentBytes() - first);
  }
  assert.ok(least < 7_000_000, `${least} bytes`);
});

function residentBytes(): number {
  if (process.platform !== 'linux') return 0;
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
}
