/*
 * Goal: 15,000 idle connections are nothing special: all are accepted, all answer a PINGREQ, memory for each is small, and all are gone when they leave.
 * Method: connections from a hundred source addresses, to two shards, counted by the broker; memory is read from /proc before and after.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { PINGREQ_IMAGE } from '../../src/protocol/disconnect.ts';
import { connect } from '../support/client.ts';
import { CounterWatch, descriptorsOf, inParallel, residentBytesOf, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const CONNECTIONS = 15_000;
const AT_A_TIME = 500;
/** A bound against leaks, not a benchmark: that is measured elsewhere. */
const BYTES_PER_CONNECTION_MAX = 24 * 1024;

test(`${CONNECTIONS} idle connections: all answer, and memory for each is bounded`, async (t) => {
  const broker = await stage(t, { shards: 2, ...WATCHED });
  const watch = await CounterWatch.open(broker.port);
  await watch.round();
  const descriptors = descriptorsOf(broker.pid);
  const before = residentBytesOf(broker.pid);
  const connections: RawConnection[] = [];
  await inParallel(CONNECTIONS, AT_A_TIME, async (index) => {
    const connection = new RawConnection(broker.port, `127.0.0.${2 + (index % 100)}`);
    connections.push(connection);
    connection.send(connectBytes(`idle-${index}`, { version: index % 2 === 0 ? 5 : 4, keepAliveSeconds: 600 }));
    assert.ok(await connection.receive(4), `CONNACK of connection ${index}`);
  });
  await watch.reaches('clients/connected', (value) => value === CONNECTIONS + 1);
  assert.equal(descriptorsOf(broker.pid), descriptors + CONNECTIONS);
  const perConnection = (residentBytesOf(broker.pid) - before) / CONNECTIONS;
  t.diagnostic(`${(perConnection / 1024).toFixed(2)} KiB resident per connection`);
  assert.ok(perConnection < BYTES_PER_CONNECTION_MAX, `${perConnection} bytes for each connection`);
  await inParallel(CONNECTIONS, AT_A_TIME, async (index) => {
    const connection = connections[index]!;
    const sofar = connection.receivedBytes;
    connection.send(PINGREQ_IMAGE);
    assert.ok(await connection.receive(sofar + 2), `PINGRESP of connection ${index}`);
    assert.deepEqual([...connection.last.subarray(-2)], [0xd0, 0]);
  });
  const witness = await connect(broker.port, { clientId: 'witness' });
  const target = connections[CONNECTIONS - 1]!;
  const sofar = target.receivedBytes;
  assert.equal((await witness.publish(`first/p2p/idle-${CONNECTIONS - 1}`, 'hello', { qos: 1 })).code, 0);
  assert.ok(await target.receive(sofar + 1), 'an idle connection gets its message');
  await inParallel(CONNECTIONS, AT_A_TIME, (index) => connections[index]!.destroy());
  await watch.reaches('clients/connected', (value) => value === 2);
  await watch.until('descriptors are closed', () => descriptorsOf(broker.pid) === descriptors + 1);
  assert.equal(await broker.stop(), 0);
});
