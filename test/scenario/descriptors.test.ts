/*
 * Goal: no descriptor leaks. After 10,000 connections to four shards, most of them handed to another shard, the broker has as many descriptors open as before.
 * Method: connections of every kind of end, many at a time: proper ones, resets, ends in the middle of CONNECT, right behind it, garbage, refusals, and
 * sockets that say nothing until the connect timeout; then /proc/<pid>/fd is counted.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, descriptorsOf, drawSeed, inParallel, isLong, Random, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const CONNECTIONS = isLong ? 100_000 : 10_000;
const AT_A_TIME = 200;
const SHARDS = 4;
const DISCONNECT = Uint8Array.of(0xe0, 0);
const REFUSED_LEVEL = connectBytes('refused').map((byte, i) => (i === 8 ? 9 : byte));

test(`${CONNECTIONS} connections leave no descriptor behind`, async (t) => {
  const random = new Random(drawSeed('descriptors'));
  const broker = await stage(t, { shards: SHARDS, 'limits.connectTimeout': '1s', ...WATCHED });
  const watch = await CounterWatch.open(broker.port);
  const base = descriptorsOf(broker.pid);
  let answered = 0;
  await inParallel(CONNECTIONS, AT_A_TIME, async (index) => {
    const connection = new RawConnection(broker.port, `127.0.0.${2 + (index % 200)}`);
    const connect = connectBytes(clientIdOn(index % SHARDS, SHARDS, 'short'));
    switch (index % 10 < 5 ? 0 : random.below(8)) {
      case 0:
        connection.send(connect);
        assert.ok(await connection.receive(5), 'CONNACK');
        answered++;
        connection.send(DISCONNECT);
        await connection.closed;
        return;
      case 1:
        connection.send(connect);
        assert.ok(await connection.receive(5), 'CONNACK');
        answered++;
        await connection.reset();
        return;
      case 2:
        connection.send(connect.subarray(0, 1 + random.below(connect.length - 1)));
        await connection.established();
        await connection.destroy();
        return;
      case 3:
        // It is gone while its descriptor is on its way to the owner.
        connection.send(connect);
        await connection.established();
        await connection.reset();
        return;
      case 4: {
        const garbage = Uint8Array.from({ length: 1 + random.below(300) }, () => random.below(256));
        connection.send(garbage);
        await connection.established();
        // What looks like the beginning of a CONNECT may wait for the rest until the connect timeout.
        connection.socket.end();
        await connection.closed;
        return;
      }
      case 5:
        connection.send(REFUSED_LEVEL);
        connection.socket.end();
        await connection.closed;
        return;
      case 6:
        connection.send(connect);
        connection.send(connect);
        await connection.closed;
        return;
      default:
        await connection.established();
        if (random.oneIn(20)) await connection.closed;
        else await connection.destroy();
    }
  });
  assert.ok(answered >= CONNECTIONS / 2);
  await watch.until(
    'all descriptors are closed',
    () => descriptorsOf(broker.pid) === base,
    () => `${descriptorsOf(broker.pid)} open, ${base} before`,
  );
  await watch.reaches('clients/connected', (value) => value === 1);
  await watch.reaches('connections/opening', (value) => value === 0);
  assert.ok(watch.value('connections/accepted') >= CONNECTIONS);
  assert.ok(watch.value('connections/handed-off') >= CONNECTIONS / 3, `${watch.value('connections/handed-off')} were handed off`);
  assert.equal(watch.value('shard/restarts'), 0);
  assert.equal(await broker.stop(), 0);
});
