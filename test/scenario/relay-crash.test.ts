/*
 * Goal: a shard that dies takes along the connections that it held, whoever owned them, and those that others held for its clients; nobody else notices, and all come back.
 * Method: clients over TLS, WebSocket and QUIC on a broker of two shards, so many that each shard holds connections for both; one shard dies, then the other.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import type { DialPlace } from '../support/dial.ts';
import { TestDoors } from '../support/doors.ts';
import { clientIdOn } from '../support/placement.ts';
import { stageCrashable } from './crashable.ts';

const SHARDS = 2;
const CLIENTS = 36;

test('relayed connections end with either shard, and come back', async (t) => {
  const doors = new TestDoors();
  const broker = await stageCrashable(t, { shards: SHARDS, listeners: doors.listeners });
  const places = doors.places(broker.ports).filter(({ transport }) => ['tls', 'ws', 'wss', 'quic'].includes(transport));
  const seats: { readonly place: DialPlace; readonly clientId: string; readonly owner: number }[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const owner = i % SHARDS;
    seats.push({ place: places[i % places.length]!, clientId: clientIdOn(owner, SHARDS), owner });
  }
  let clients = await Promise.all(seats.map(({ place, clientId }) => connect(place, { clientId })));
  for (const dead of [0, 1]) {
    const ended = new Set<TestClient>();
    for (const client of clients) void client.closed.then(() => ended.add(client));
    await broker.crashAndWait(dead);
    for (const [i, client] of clients.entries()) {
      if (seats[i]!.owner !== dead) continue;
      // A QUIC client learns it when it says something.
      client.ping().catch(() => {});
      await client.closed;
    }
    // Of the others some were held by the dead shard; those that are left are served.
    let left = 0;
    for (const [i, client] of clients.entries()) {
      if (seats[i]!.owner === dead) continue;
      await client.ping().then(
        () => left++,
        () => ended.add(client),
      );
    }
    assert.ok(left > 0, 'clients of the other shard live on');
    clients = await Promise.all(
      clients.map((client, i) => (ended.has(client) ? connect(seats[i]!.place, { clientId: client.clientId }) : client)),
    );
    for (const client of clients) {
      await client.publish(`first/p2p/${client.clientId}`, `after ${dead}`, { qos: 1 });
      assert.equal(payloadText(await client.next()), `after ${dead}`);
    }
  }
  for (const client of clients) await client.disconnect();
  assert.equal(await broker.stop(), 0);
});
