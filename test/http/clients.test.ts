/**
 * Clients over HTTP: real MQTT clients of a broker with one shard and of one with three; every field, every filter, pages while others come and go, kicks, and subscriptions
 * on a client's behalf.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { endAllClients, type HttpBroker, type HttpReply, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

interface Listed {
  readonly clientId: string;
}

/** All pages of a list. @param between called after each page but the last */
async function pages(
  broker: HttpBroker,
  path: string,
  query: string,
  between: () => Promise<void> = async () => {},
): Promise<{ items: Listed[]; count: number }> {
  const items: Listed[] = [];
  let count = 0;
  for (let cursor: string | null = null; ; ) {
    const reply = await broker.request('GET', `${path}?${query}${cursor === null ? '' : `&cursor=${cursor}`}`, { role: 'viewer' });
    assert.equal(reply.status, 200, reply.text);
    items.push(...reply.json.data);
    count++;
    cursor = reply.json.next;
    if (cursor === null) return { items, count };
    await between();
  }
}

function names({ items }: { items: Listed[] }): string[] {
  return items.map(({ clientId }) => clientId).sort();
}

for (const shards of [1, 3])
  test(`clients of ${shards} shards`, async (t) => {
    const broker = await startHttpBroker(t, { shards });
    await t.test('every field of the list and of one client', async () => {
      const before = Date.now();
      const odd = 'gerät/1 ü%2F#+';
      const client = await connect(broker.port, {
        clientId: odd,
        username: 'ann',
        keepAlive: 77,
        cleanStart: true,
        autoAck: false,
        properties: { sessionExpiryInterval: 300, receiveMaximum: 2, maximumPacketSize: 100_000 },
        will: {
          topic: 'will/ä',
          payload: 'gone',
          qos: 1,
          retain: true,
          properties: { willDelayInterval: 9, messageExpiryInterval: 60, contentType: 'text/plain', userProperties: [['a', 'b']] },
        },
      });
      await client.subscribe('a/+', {
        qos: 2,
        noLocal: true,
        retainAsPublished: true,
        retainHandling: 1,
        properties: { subscriptionIdentifiers: [7] },
      });
      await client.subscribe('$share/g/b/#', { qos: 1 });
      const publisher = await connect(broker.port, { clientId: 'publisher', version: 4, keepAlive: 0 });
      for (let i = 0; i < 3; i++) await publisher.publish('a/x', `message ${i}`, { qos: 1 });
      await client.nextMany(2);
      const reply = await broker.request('GET', `/api/v1/clients/${encodeURIComponent(odd)}`, { role: 'operator' });
      assert.equal(reply.status, 200, reply.text);
      const { createdAt, connectedAt, address, shard, queuedBytes, subscriptionList, will, ...rest } = reply.json;
      assert.ok(Date.parse(connectedAt) >= before - 1000 && Date.parse(connectedAt) <= Date.now() + 1000, connectedAt);
      assert.ok(Date.parse(createdAt) >= before - 1000 && createdAt <= connectedAt, createdAt);
      assert.match(address, /^127\.0\.0\.1:\d+$/);
      assert.ok(shard >= 0 && shard < shards);
      assert.ok(queuedBytes > 0);
      assert.deepEqual(rest, {
        clientId: odd,
        username: 'ann',
        state: 'connected',
        listener: 0,
        transport: 'tcp',
        protocol: 5,
        keepAliveSeconds: 77,
        disconnectedAt: null,
        sessionExpirySeconds: 300,
        subscriptions: 2,
        inflight: 2,
        queued: 1,
        isPersistent: true,
        isStored: true,
        cleanStart: true,
        receiveMaximum: 2,
        packetBytesMax: 100_000,
        outboundBytes: 0,
        isThrottled: false,
        streams: 0,
        authenticator: rest.authenticator,
        isSuperuser: false,
        attributes: {},
        incomingQos2: 0,
      });
      assert.deepEqual(subscriptionList, [
        {
          filter: 'a/+',
          qos: 2,
          noLocal: true,
          retainAsPublished: true,
          retainHandling: 1,
          identifier: 7,
          group: null,
          observesP2p: false,
        },
        {
          filter: '$share/g/b/#',
          qos: 1,
          noLocal: false,
          retainAsPublished: false,
          retainHandling: 0,
          identifier: null,
          group: 'g',
          observesP2p: false,
        },
      ]);
      assert.deepEqual(will, {
        topic: 'will/ä',
        qos: 1,
        retain: true,
        bytes: 4,
        payloadBase64: Buffer.from('gone').toString('base64'),
        expiresAt: null,
        properties: { contentType: 'text/plain', userProperties: [['a', 'b']] },
        delaySeconds: 9,
        expirySeconds: 60,
      });
      const waiting = await broker.request('GET', `/api/v1/clients/${encodeURIComponent(odd)}/queue`, { role: 'operator' });
      assert.equal(waiting.json.queued, 1);
      assert.equal(Buffer.from(waiting.json.messageList[0].payloadBase64, 'base64').toString(), 'message 2');
      const { json } = await broker.request('GET', '/api/v1/clients', { role: 'viewer' });
      assert.equal(json.total, 2);
      assert.equal(json.next, null);
      const line = json.data.find((one: Listed) => one.clientId === 'publisher');
      assert.equal(line.protocol, 4);
      assert.equal(line.keepAliveSeconds, 0);
      assert.equal(line.username, null);
      assert.equal(line.sessionExpirySeconds, 0);
      await client.destroy();
      const away = await lookFor(broker, odd, ({ json: one }) => one.state === 'disconnected');
      assert.equal(away.json.address, null);
      assert.equal(away.json.connectedAt, null);
      assert.ok(Date.parse(away.json.disconnectedAt) >= before - 1000);
      assert.equal(away.json.queued + away.json.inflight, 3);
      await publisher.disconnect();
    });

    await t.test('filters, roles, and what is asked wrong', async () => {
      await endAllClients(broker);
      const clients: TestClient[] = [];
      for (let i = 0; i < 6; i++)
        clients.push(
          await connect(broker.port, {
            clientId: `${i % 2 === 0 ? 'even' : 'odd'}-${i}`,
            username: `user${i % 3}`,
            localAddress: `127.0.0.${2 + (i % 2)}`,
            properties: { sessionExpiryInterval: 100 },
          }),
        );
      await clients[0]!.destroy();
      await lookFor(broker, 'even-0', ({ json }) => json.state === 'disconnected');
      const listed = async (query: string): Promise<string[]> => names(await pages(broker, '/api/v1/clients', query));
      assert.deepEqual(await listed('prefix=even-'), ['even-0', 'even-2', 'even-4']);
      assert.deepEqual(await listed('contains=d-'), ['odd-1', 'odd-3', 'odd-5']);
      assert.deepEqual(await listed('username=user1'), ['even-4', 'odd-1']);
      assert.deepEqual(await listed('state=disconnected'), ['even-0']);
      assert.deepEqual(await listed('state=connected&prefix=even'), ['even-2', 'even-4']);
      assert.deepEqual(await listed('address=127.0.0.3'), ['odd-1', 'odd-3', 'odd-5']);
      assert.deepEqual(await listed('address=127.0.0.0/31'), []);
      assert.equal((await listed('address=127.0.0.0/8')).length, 5);
      assert.equal((await pages(broker, '/api/v1/clients', 'limit=1')).count, 6);
      const total = async (query: string): Promise<number | undefined> =>
        (await broker.request('GET', `/api/v1/clients?${query}`, { role: 'viewer' })).json.total;
      assert.equal(await total('state=connected'), 5);
      assert.equal(await total('state=disconnected'), 1);
      assert.equal(await total('prefix=even'), undefined);
      for (const query of [
        'limit=0',
        'limit=1001',
        'limit=x',
        'state=asleep',
        'address=nowhere',
        'address=1.2.3.4/99',
        'cursor=abc',
        'cursor=WzEsMl0',
        'cursor=',
      ])
        assert.equal((await broker.request('GET', `/api/v1/clients?${query}`, { role: 'viewer' })).status, 400, query);
      assert.equal((await broker.request('GET', '/api/v1/clients', { role: 'service' })).status, 403);
      assert.equal((await broker.request('DELETE', '/api/v1/clients/odd-1', { role: 'viewer' })).status, 403);
      assert.equal((await broker.request('PUT', '/api/v1/clients/odd-1/subscriptions/a', { role: 'viewer', body: {} })).status, 403);
      for (const [method, path] of [
        ['GET', '/api/v1/clients/nobody'],
        ['DELETE', '/api/v1/clients/nobody'],
        ['GET', '/api/v1/clients/nobody/subscriptions'],
        ['DELETE', '/api/v1/clients/nobody/subscriptions/a'],
      ] as const) {
        const reply = await broker.request(method, path, { role: 'operator' });
        assert.equal(reply.status, 404, path);
        assert.equal(reply.json.code, 'no-session');
      }
      for (const client of clients.slice(1)) await client.disconnect();
    });

    await t.test('pages list everybody who stays exactly once, while others come and go', async () => {
      await endAllClients(broker);
      const staying = await Promise.all(Array.from({ length: 60 }, (_, i) => connect(broker.port, { clientId: `stay-${i}` })));
      let going: TestClient[] = [];
      let next = 0;
      const change = async (): Promise<void> => {
        await Promise.all(going.map((client) => client.disconnect()));
        going = await Promise.all(Array.from({ length: 20 }, () => connect(broker.port, { clientId: `go-${next++}` })));
      };
      await change();
      const { items, count } = await pages(broker, '/api/v1/clients', 'limit=7', change);
      assert.ok(count > 8, `${count} pages`);
      const stayed = items.filter(({ clientId }) => clientId.startsWith('stay-')).map(({ clientId }) => clientId);
      assert.equal(stayed.length, 60);
      assert.equal(new Set(stayed).size, 60);
      assert.equal(names(await pages(broker, '/api/v1/clients', 'limit=7&prefix=stay-')).length, 60);
      await Promise.all([...staying, ...going].map((client) => client.disconnect()));
    });

    await t.test('a kick ends a connection, or a session with it', async () => {
      await endAllClients(broker);
      const watcher = await connect(broker.port, { clientId: 'watcher' });
      await watcher.subscribe('will/#');
      await watcher.subscribe('$events/client_disconnected');
      const open = (clientId: string, version: 4 | 5 = 5): Promise<TestClient> =>
        connect(broker.port, {
          clientId,
          version,
          cleanStart: version === 5,
          ...(version === 5 && { properties: { sessionExpiryInterval: 1000 } }),
          will: { topic: `will/${clientId}`, payload: 'w' },
        });
      const first = await open('first');
      const reply = await broker.request('DELETE', '/api/v1/clients/first', { role: 'operator' });
      assert.deepEqual(reply.json, { disconnected: true, sessionEnded: false });
      assert.equal((await first.closed).code, 0x98);
      const seen = await watcher.nextMany(2);
      assert.deepEqual(seen.map(({ topic }) => topic).sort(), ['$events/client_disconnected', 'will/first']);
      assert.equal(JSON.parse(payloadText(seen.find(({ topic }) => topic[0] === '$')!)).reason, 'kicked');
      assert.equal((await broker.request('GET', '/api/v1/clients/first', { role: 'viewer' })).json.state, 'disconnected');
      assert.deepEqual((await broker.request('DELETE', '/api/v1/clients/first', { role: 'operator' })).json, {
        disconnected: false,
        sessionEnded: false,
      });
      const gone = await broker.request('DELETE', '/api/v1/clients/first?session=true', { role: 'operator' });
      assert.deepEqual(gone.json, { disconnected: false, sessionEnded: true });
      assert.equal((await broker.request('GET', '/api/v1/clients/first', { role: 'viewer' })).status, 404);
      // A v3 client is told nothing, and without a Will nobody else is either.
      const second = await open('second', 4);
      const both = await broker.request('DELETE', '/api/v1/clients/second?session=true&will=false', { role: 'operator' });
      assert.deepEqual(both.json, { disconnected: true, sessionEnded: true });
      assert.equal((await second.closed).code, undefined);
      assert.equal((await watcher.next()).topic, '$events/client_disconnected');
      const again = await open('second', 4);
      assert.equal(again.connack.sessionPresent, false);
      await watcher.expectNone();
      await again.disconnect();
      await watcher.disconnect();
    });

    await t.test('a subscription on behalf counts at once, for clients that are there and for those that are away', async () => {
      await endAllClients(broker);
      const publisher = await connect(broker.port, { clientId: 'publisher' });
      await publisher.publish('kept/1', 'state', { retain: true, qos: 1 });
      const client = await connect(broker.port, { clientId: 'here/ö', properties: { sessionExpiryInterval: 1000 } });
      const path = `/api/v1/clients/${encodeURIComponent('here/ö')}/subscriptions`;
      const put = (filter: string, body: object): Promise<HttpReply> =>
        broker.request('PUT', `${path}/${filter}`, { role: 'operator', body });
      const granted = await put('kept/%23', { qos: 1, retainHandling: 0, identifier: 5 });
      assert.equal(granted.status, 200, granted.text);
      assert.deepEqual(granted.json, { clientId: 'here/ö', filter: 'kept/#', qos: 1 });
      const retained = await client.next();
      assert.equal(retained.topic, 'kept/1');
      assert.equal(retained.retain, true);
      assert.deepEqual(retained.properties.subscriptionIdentifiers, [5]);
      // Answered means: every shard knows.
      await put('live/a%2Fb', {});
      await publisher.publish('live/a/b', 'now', { qos: 1 });
      assert.equal(payloadText(await client.next()), 'now');
      await put('kept/+', { retainHandling: 2 });
      await client.ping();
      await client.expectNone();
      const listed = await pages(broker, path, 'limit=1');
      assert.deepEqual(
        (listed.items as unknown as { filter: string }[]).map(({ filter }) => filter),
        ['kept/#', 'kept/+', 'live/a/b'],
      );
      assert.equal((await broker.request('DELETE', `${path}/live/a/b`, { role: 'operator' })).json.unsubscribed, true);
      assert.equal((await broker.request('DELETE', `${path}/live/a/b`, { role: 'operator' })).status, 404);
      await publisher.publish('live/a/b', 'later', { qos: 1 });
      await client.expectNone();
      await client.destroy();
      await lookFor(broker, 'here/ö', ({ json }) => json.state === 'disconnected');
      assert.equal((await put('$share/g/away', { qos: 2 })).json.qos, 2);
      await put('away/%23', { qos: 1 });
      await publisher.publish('away/1', 'waits', { qos: 1 });
      const back = await connect(broker.port, { clientId: 'here/ö', cleanStart: false, properties: { sessionExpiryInterval: 1000 } });
      assert.equal(back.connack.sessionPresent, true);
      assert.equal(payloadText(await back.next()), 'waits');
      const group = await broker.request('GET', '/api/v1/groups/g/away', { role: 'viewer' });
      assert.equal(group.json.online, 1);
      for (const [filter, body, status, code] of [
        ['a/%23/b', {}, 400, 'bad-request'],
        ['$share/g', {}, 400, 'bad-request'],
        ['a', { qos: 3 }, 422, 'unprocessable'],
        ['a', { sticky: true }, 422, 'unprocessable'],
        ['x/p2p/other', {}, 403, 'forbidden'],
      ] as const) {
        const reply = await put(filter, body);
        assert.equal(reply.status, status, `${filter} ${reply.text}`);
        assert.equal(reply.json.code, code);
      }
      await back.disconnect();
      await publisher.disconnect();
    });
  });

test('a subscription on behalf outlives the broker with its session, and limits hold', async (t) => {
  const options = { 'limits.subscriptionsPerClient': 2, 'store.path': storeDirectory() };
  const broker = await startHttpBroker(t, options);
  const client = await connect(broker.port, { clientId: 'kept', properties: { sessionExpiryInterval: 1000 } });
  const put = (filter: string): Promise<HttpReply> =>
    broker.request('PUT', `/api/v1/clients/kept/subscriptions/${filter}`, { role: 'operator', body: {} });
  await put('one');
  await put('two');
  const refused = await put('three');
  assert.equal(refused.status, 429);
  assert.equal(refused.json.code, 'quota-exceeded');
  const createdAt = async (of: HttpBroker): Promise<string> =>
    (await of.request('GET', '/api/v1/clients/kept', { role: 'viewer' })).json.createdAt;
  const madeAt = await createdAt(broker);
  await client.destroy();
  // The session goes on, so its time does; a Clean Start begins another.
  const back = await connect(broker.port, { clientId: 'kept', cleanStart: false, properties: { sessionExpiryInterval: 1000 } });
  assert.equal(await createdAt(broker), madeAt);
  await back.destroy();
  await broker.kill();
  const again = await startHttpBroker(t, options);
  assert.equal(await createdAt(again), madeAt, 'a restart is no beginning');
  const { items } = await pages(again, '/api/v1/clients/kept/subscriptions', '');
  assert.equal(items.length, 2);
  const anew = await connect(again.port, { clientId: 'kept', cleanStart: true });
  assert.ok((await createdAt(again)) > madeAt);
  await anew.destroy();
});

/** Asks for a client until it is as wanted: what happens to a connection is not known to the one who ended it at once. */
async function lookFor(broker: HttpBroker, clientId: string, isWanted: (reply: HttpReply) => boolean): Promise<HttpReply> {
  const end = Date.now() + 20_000;
  for (;;) {
    const reply = await broker.request('GET', `/api/v1/clients/${encodeURIComponent(clientId)}`, { role: 'operator' });
    if (isWanted(reply)) return reply;
    assert.ok(Date.now() < end, `it becomes as wanted in time: ${reply.text}`);
  }
}
