/*
 * Goal: while strangers shake hands as fast as they can, connected clients go on being served, and the strangers are served in the end as well.
 * Method: one broker of two shards; a thread that opens TLS connections many at a time; clients over TCP, TLS and WebSocket that send to each other as long as it runs.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { CounterWatch, WATCHED } from '../scenario/observe.ts';
import { startBroker } from '../support/broker.ts';
import { Authority, pem } from '../support/certificates.ts';
import { connect, payloadText } from '../support/client.ts';
import type { DialPlace } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';
import type { FloodOrder } from './handshake-flooder.ts';

const SHARDS = 2;
const HANDSHAKES = 1500;
const AT_ONCE = 200;

for (const kind of ['tls', 'wss'] as const) {
  test(`a flood of handshakes over ${kind}`, async () => {
    const authority = new Authority(`flood-${kind}`);
    const tls = { certificates: [authority.issue('localhost', ['DNS:localhost'])] };
    const bind = '127.0.0.1:0';
    const listeners = [
      { type: 'tcp', bind },
      { type: kind, bind, tls },
    ];
    const broker = await startBroker({ shards: SHARDS, listeners, ...WATCHED });
    const place: DialPlace = { transport: kind, host: '127.0.0.1', port: broker.ports[1]!, ca: pem(authority.root) };
    const watch = await CounterWatch.open(broker.port);
    const clients = await Promise.all([
      connect(broker.port, { clientId: clientIdOn(0, SHARDS) }),
      connect(broker.port, { clientId: clientIdOn(1, SHARDS) }),
      connect(place, { clientId: clientIdOn(0, SHARDS) }),
      connect(place, { clientId: clientIdOn(1, SHARDS) }),
    ]);
    const order: FloodOrder = { port: place.port, handshakes: HANDSHAKES, atOnce: AT_ONCE };
    const flooder = new Worker(new URL('./handshake-flooder.js', import.meta.url), { workerData: order });
    let done = -1;
    flooder.on('message', (count: number) => (done = count));
    const ended = once(flooder, 'exit');
    let rounds = 0;
    while (done < 0) {
      for (const [index, client] of clients.entries()) {
        const next = clients[(index + 1) % clients.length]!;
        await client.publish(`to/p2p/${next.clientId}`, String(rounds), { qos: 1 });
        assert.equal(payloadText(await next.next()), String(rounds));
      }
      rounds++;
    }
    await ended;
    assert.equal(done, HANDSHAKES);
    assert.ok(rounds > 1, `${rounds} rounds`);
    await watch.reaches('connections/opening', (value) => value === 0);
    for (const client of clients) await client.disconnect();
    assert.equal(await broker.stop(), 0);
  });
}
