/**
 * Messages to single clients over HTTP, against a real broker and real MQTT clients on every shard: each status and each refusal, what a waiting request is answered when the
 * client acknowledges, is late, refuses, goes or comes back, and many clients at once.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { type ConnectOptions, connect, payloadText, type TestClient, userValues } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker, suite } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { until } from '../support/until.ts';

const role = 'service';
const SHARDS = 3;
const stays = { sessionExpiryInterval: 3600 };

function send(broker: HttpBroker, clientId: string, query: string, body = 'x', headers: Record<string, string> = {}): Promise<HttpReply> {
  return broker.request('POST', `/v1/clients/${encodeURIComponent(clientId)}/messages${query}`, { role, body, headers });
}

/** Status and code of a problem, as one text. */
function told({ status, json }: HttpReply): string {
  return `${status} ${json.code ?? json.status}`;
}

/** Requests that wait for a client, on all shards. */
async function waiting(broker: HttpBroker): Promise<number> {
  const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
  return [...text.matchAll(/^onehop_p2p_confirmations_waiting\S* (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
}

describe('messages to one client over HTTP', () => {
  let broker: HttpBroker;
  const device = (options: ConnectOptions = {}, shard = 0): Promise<TestClient> =>
    connect(broker.port, { clientId: clientIdOn(shard, SHARDS), ...options });
  const whole = suite();
  after(() => whole.stop());
  before(async () => {
    broker = await startHttpBroker(whole, { shards: SHARDS });
  });

  test('delivered, queued and no session, on every shard and at every QoS', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const online = await device({}, shard);
      const away = await device({ properties: stays }, shard);
      await away.disconnect();
      for (const qos of [0, 1, 2]) {
        const answer = await send(
          broker,
          online.clientId,
          `?qos=${qos}&topic=cmd%2Freboot&userProperty=a:b&contentType=text/plain&p=1`.replace('&p=1', ''),
          'now',
        );
        assert.deepEqual([answer.status, answer.json], [202, { clientId: online.clientId, status: 'delivered' }]);
        const got = await online.next();
        assert.deepEqual([got.topic, payloadText(got), got.qos, got.retain], ['cmd/reboot', 'now', qos, false]);
        assert.deepEqual(userValues(got.properties, 'a'), ['b']);
        assert.equal(got.properties.contentType, 'text/plain');
        assert.equal(told(await send(broker, away.clientId, `?qos=${qos}`)), qos === 0 ? '409 offline' : '202 queued');
        assert.equal(told(await send(broker, clientIdOn(shard, SHARDS), `?qos=${qos}`)), '404 no-session');
      }
      assert.equal((await send(broker, online.clientId, '')).status, 202);
      assert.equal((await online.next()).topic, `cmd/p2p/${online.clientId}`);
      const back = await connect(broker.port, { clientId: away.clientId, cleanStart: false, properties: stays });
      assert.deepEqual(
        (await back.nextMany(2)).map(({ qos }) => qos),
        [1, 2],
      );
      await online.disconnect();
      await back.disconnect();
    }
  });

  test('a client ID may hold whatever MQTT allows', async () => {
    for (const clientId of ['a/b c', 'grüße', '100%', '#+', 'x?y=z']) {
      const client = await connect(broker.port, { clientId });
      assert.equal(told(await send(broker, clientId, '?confirm=true')), '200 acknowledged', clientId);
      assert.equal(payloadText(await client.next()), 'x');
      assert.equal((await broker.request('GET', `/client-id/${encodeURIComponent(clientId)}/status`, { role })).json.online, true);
      await client.disconnect();
    }
  });

  test('ifOnline: the client gets it now or never', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const client = await device({ properties: stays }, shard);
      assert.equal(told(await send(broker, client.clientId, '?ifOnline=true')), '202 delivered');
      await client.next();
      await client.disconnect();
      assert.equal(told(await send(broker, client.clientId, '?ifOnline=true')), '409 offline');
      assert.equal(told(await send(broker, client.clientId, '?ifOnline=true&confirm=true')), '409 offline');
      assert.equal(told(await send(broker, clientIdOn(shard, SHARDS), '?ifOnline=true')), '404 no-session');
      const back = await connect(broker.port, { clientId: client.clientId, cleanStart: false, properties: stays });
      await back.expectNone();
      await back.disconnect();
    }
  });

  test('confirm: answered when the client has acknowledged, and it sees nothing of that', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      for (const qos of [1, 2]) {
        const client = await device({ autoAck: false, autoComplete: false }, shard);
        let isAnswered = false;
        const answer = send(broker, client.clientId, `?confirm=true&qos=${qos}`).finally(() => {
          isAnswered = true;
        });
        const got = await client.next();
        assert.deepEqual(Object.keys(got.properties), []);
        await client.ping();
        assert.equal(isAnswered, false);
        client.ack(got);
        if (qos === 2) {
          await client.ping();
          assert.equal(isAnswered, false, 'the end of a QoS 2 exchange is PUBCOMP');
          client.complete(got.packetId);
        }
        const { status, json } = await answer;
        assert.deepEqual([status, json.clientId, json.status], [200, client.clientId, 'acknowledged']);
        assert.ok(Number.isInteger(json.milliseconds));
        await client.disconnect();
      }
    }
  });

  test('confirm: a client that was away acknowledges when it is back', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const client = await device({ properties: stays }, shard);
      await client.disconnect();
      const answer = send(broker, client.clientId, '?confirm=true&timeout=30', 'later');
      // The next one finds the first one waiting: it was queued before the client comes back.
      await until('the first is queued', async () => (await send(broker, client.clientId, '?expiry=0')).status === 202);
      const back = await connect(broker.port, { clientId: client.clientId, cleanStart: false, properties: stays, autoAck: false });
      const got = await back.next();
      await back.destroy();
      const again = await connect(broker.port, { clientId: client.clientId, cleanStart: false, properties: stays, autoAck: false });
      const second = await again.next();
      assert.deepEqual([payloadText(got), payloadText(second), second.dup], ['later', 'later', true]);
      again.ack(second);
      assert.equal(told(await answer), '200 acknowledged');
      await again.disconnect();
    }
  });

  test('confirm: nothing in time, and the message stays', async () => {
    const client = await device({ autoAck: false, properties: stays }, 1);
    const answer = await send(broker, client.clientId, '?confirm=true&timeout=0.3');
    assert.deepEqual([told(answer), answer.json.state], ['504 timeout', 'delivered']);
    const got = await client.next();
    client.ack(got);
    await client.ping();
    await client.disconnect();
    const away = await send(broker, client.clientId, '?confirm=true&timeout=0.3', 'kept');
    assert.deepEqual([told(away), away.json.state], ['504 timeout', 'queued']);
    const back = await connect(broker.port, { clientId: client.clientId, cleanStart: false, properties: stays });
    assert.equal(payloadText(await back.next()), 'kept');
    await back.disconnect();
  });

  test('confirm: refused by the client, expired, its session ended', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const client = await device({ autoAck: false }, shard);
      const refused = send(broker, client.clientId, '?confirm=true');
      client.ack(await client.next(), 0x83);
      assert.equal(told(await refused), '409 dropped');
      const ended = send(broker, client.clientId, '?confirm=true');
      await client.next();
      await client.destroy();
      assert.equal(told(await ended), '409 session-ended');
    }
    const away = await Promise.all([0, 1, 2].map((shard) => device({ properties: stays }, shard)));
    for (const client of away) await client.disconnect();
    const answers = await Promise.all(away.map(({ clientId }) => send(broker, clientId, '?confirm=true&expiry=1&timeout=20')));
    assert.deepEqual(answers.map(told), ['409 expired', '409 expired', '409 expired']);
  });

  test('a request that nobody waits for any more leaves the message alone', async () => {
    const client = await device({ autoAck: false }, 2);
    const abort = new AbortController();
    const gone = fetch(`${broker.url}/v1/clients/${client.clientId}/messages?confirm=true`, {
      method: 'POST',
      body: 'x',
      headers: { authorization: `Bearer ${broker.keys.service}` },
      signal: abort.signal,
    });
    const got = await client.next();
    assert.equal(await waiting(broker), 1);
    abort.abort();
    await assert.rejects(gone);
    // Its place is free long before its time is over.
    await until('nobody waits', async () => (await waiting(broker)) === 0);
    client.ack(got);
    await client.ping();
    await client.disconnect();
  });

  test('many that nobody waits for any more are all taken out', async () => {
    const clients = await Promise.all([0, 1, 2].map((shard) => device({ autoAck: false }, shard)));
    const abort = new AbortController();
    const clientIds = clients.map(({ clientId }) => clientId);
    const gone = fetch(`${broker.url}/v1/clients/messages`, {
      method: 'POST',
      body: JSON.stringify({ clientIds, payload: 'x', confirm: true, timeoutMilliseconds: 600_000 }),
      headers: { authorization: `Bearer ${broker.keys.service}`, 'content-type': 'application/json' },
      signal: abort.signal,
    });
    for (const client of clients) await client.next();
    assert.equal(await waiting(broker), SHARDS);
    abort.abort();
    await assert.rejects(gone);
    await until('nobody waits', async () => (await waiting(broker)) === 0);
    for (const client of clients) await client.destroy();
  });

  test('too large for the client, a full queue, a wrong topic, and what is no request', async () => {
    const small = await device({ properties: { maximumPacketSize: 100 } }, 1);
    assert.equal(told(await send(broker, small.clientId, '', 'x'.repeat(200))), '413 too-large');
    await small.disconnect();
    const id = clientIdOn(0, SHARDS);
    for (const query of [
      '?qos=4',
      '?confirm=true&qos=0',
      '?confirm=yes',
      '?timeout=0',
      '?timeout=601',
      '?timeout=x',
      '?topic=',
      '?topic=a%2F%2B',
      '?topic=cmd%2Fp2p%2Fsomebody-else',
      '?retained=true',
      '?nothing=1',
      '?confirm=true&confirm=true',
    ])
      assert.equal(told(await send(broker, id, query)), '400 bad-request', query);
    assert.equal((await broker.request('POST', '/v1/clients//messages', { role })).status, 404);
    assert.equal((await broker.request('POST', '/v1/clients/a%00b/messages', { role })).status, 400);
    assert.equal(told(await send(broker, id, '?topic=%24SYS%2Fx')), '403 forbidden');
  });

  test('many clients: a result for each, in their order', async () => {
    const clients = await Promise.all([0, 1, 2, 0, 1, 2].map((shard) => device({}, shard)));
    const away = await device({ properties: stays }, 1);
    await away.disconnect();
    const nobody = clientIdOn(2, SHARDS);
    const clientIds = [...clients.map(({ clientId }) => clientId), away.clientId, nobody];
    const ask = (more: object): Promise<HttpReply> =>
      broker.request('POST', '/v1/clients/messages', { role, body: { clientIds, payload: 'all', ...more } });
    const sent = await ask({ topic: 'cmd/all' });
    assert.equal(sent.status, 200);
    assert.deepEqual(
      sent.json.results.map(({ status, problem }: { status?: string; problem?: { code: string } }) => status ?? problem!.code),
      [...clients.map(() => 'delivered'), 'queued', 'no-session'],
    );
    assert.deepEqual(
      sent.json.results.map(({ clientId }: { clientId: string }) => clientId),
      clientIds,
    );
    for (const client of clients) assert.equal((await client.next()).topic, 'cmd/all');
    const confirmed = await ask({ confirm: true, timeoutMilliseconds: 300 });
    assert.deepEqual(
      confirmed.json.results.map(({ status, problem }: { status?: string; problem?: { code: string } }) => status ?? problem!.code),
      [...clients.map(() => 'acknowledged'), 'timeout', 'no-session'],
    );
    const online = await ask({ ifOnline: true, payload: undefined, payloadBase64: '/w==' });
    assert.deepEqual(
      online.json.results.map(({ status, problem }: { status?: string; problem?: { code: string } }) => status ?? problem!.code),
      [...clients.map(() => 'delivered'), 'offline', 'no-session'],
    );
    for (const client of clients) await client.disconnect();
    for (const body of [
      { clientIds: [] },
      { clientIds: Array.from({ length: 1001 }, (_, index) => `c${index}`) },
      { clientIds: [''] },
      { clientIds: ['a'], confirm: true, qos: 0 },
      { clientIds: ['a'], payload: 'a', payloadBase64: 'YQ==' },
      { clientIds: ['a'], more: 1 },
    ])
      assert.equal((await broker.request('POST', '/v1/clients/messages', { role, body })).status, 422, JSON.stringify(body).slice(0, 60));
    const wide = { clientIds: Array.from({ length: 1000 }, (_, index) => `c${index}`), payload: 'x'.repeat(20_000) };
    assert.equal((await broker.request('POST', '/v1/clients/messages', { role, body: wide })).status, 413);
  });

  test('the order of messages to one client is that of the requests', async () => {
    const client = await device({}, 2);
    for (let i = 0; i < 50; i++) assert.equal((await send(broker, client.clientId, '', String(i))).status, 202);
    assert.deepEqual(
      (await client.nextMany(50)).map(payloadText),
      Array.from({ length: 50 }, (_, index) => String(index)),
    );
    await client.disconnect();
  });

  test('an idempotency key: one message, whoever waits', async () => {
    const client = await device({ autoAck: false }, 1);
    const headers = { 'idempotency-key': 'order-66' };
    const first = send(broker, client.clientId, '?confirm=true', 'once', headers);
    const got = await client.next();
    assert.equal(told(await send(broker, client.clientId, '?confirm=true', 'once', headers)), '409 conflict', 'it is under way');
    client.ack(got);
    const answer = await first;
    const again = await send(broker, client.clientId, '?confirm=true', 'once', headers);
    assert.deepEqual(again.json, answer.json);
    assert.equal(again.headers.get('idempotency-replayed'), 'true');
    await client.expectNone();
    await client.disconnect();
  });

  test('whether a client is connected', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const client = await device({ properties: stays }, shard);
      const path = `/client-id/${client.clientId}/status`;
      assert.deepEqual((await broker.request('GET', path, { role })).json, { online: true });
      assert.deepEqual((await broker.request('POST', path, { role })).json, { online: true });
      await client.disconnect();
      assert.deepEqual((await broker.request('GET', path, { role })).json, { online: false });
    }
    assert.deepEqual((await broker.request('GET', '/client-id/nobody/status', { role })).json, { online: false });
  });

  test('another Keep Alive holds at once', async () => {
    const ask = (id: string, interval: string): Promise<HttpReply> =>
      broker.request('POST', `/keep-alive?client-id=${encodeURIComponent(id)}&interval=${interval}`, { role });
    for (let shard = 0; shard < SHARDS; shard++) {
      const client = await device({ keepAlive: 600 }, shard);
      const answer = await ask(client.clientId, '120');
      assert.deepEqual([answer.status, answer.json], [200, { success: true, keepalive: 120 }]);
      for (const interval of ['0', '29', '1201', '', 'x', '-60', '60.5'])
        assert.equal((await ask(client.clientId, interval)).status, 400, interval);
      await client.disconnect();
      assert.equal(told(await ask(client.clientId, '120')), '409 offline');
      const without = await device({}, shard);
      assert.equal(told(await ask(without.clientId, '120')), '409 conflict');
      await without.disconnect();
    }
  });
});

describe('messages to one client where it is not that simple', () => {
  test('mailboxes, a full queue, and a message that waits there until the first connection', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2, 'p2p.mailbox.enabled': true, 'p2p.mailbox.maxMessages': 2 });
    for (let shard = 0; shard < 2; shard++) {
      const clientId = clientIdOn(shard, 2);
      assert.equal(told(await send(broker, clientId, '')), '202 mailbox');
      const answer = send(broker, clientId, '?confirm=true&timeout=30', 'second');
      let over = await send(broker, clientId, '?ifOnline=true');
      assert.equal(told(over), '404 no-session', 'it is not for the mailbox');
      // Over another connection: it may come behind the next ones.
      await until('the second waits, too', async () => {
        const { json } = await broker.request('GET', `/api/v1/mailboxes/${clientId}`, { role: 'viewer' });
        return json.messages === 2;
      });
      await until('the mailbox is full', async () => {
        over = await send(broker, clientId, '');
        return over.status !== 202;
      });
      assert.equal(told(over), '429 quota-exceeded');
      const client = await connect(broker.port, { clientId });
      assert.equal((await client.next()).qos, 1);
      assert.equal(told(await answer), '200 acknowledged');
      await client.disconnect();
    }
  });

  test('statements about clients and about the topic that they see', async (t) => {
    const broker = await startHttpBroker(t, {
      shards: 2,
      'authorization.statements': [
        { effect: 'allow', resource: 'p2p', actions: ['publish'], targets: ['dev-*'] },
        { effect: 'allow', actions: ['publish'], topics: ['cmd/#'] },
      ],
    });
    const clients = await Promise.all(
      [0, 1].map((shard) => connect(broker.port, { clientId: clientIdOn(shard, 2, 'dev'), keepAlive: 600 })),
    );
    const other = await connect(broker.port, { clientId: clientIdOn(1, 2, 'lock'), keepAlive: 600 });
    for (const { clientId } of clients) {
      assert.equal(told(await send(broker, clientId, '')), '202 delivered');
      assert.equal(told(await send(broker, clientId, '?topic=cmd%2Fx')), '202 delivered');
      assert.equal(told(await send(broker, clientId, '?topic=admin%2Fx')), '403 forbidden', 'a topic that the caller may not publish to');
      assert.equal((await broker.request('POST', `/keep-alive?client-id=${clientId}&interval=60`, { role })).status, 200);
    }
    assert.equal(told(await send(broker, other.clientId, '')), '403 forbidden');
    assert.equal(told(await send(broker, other.clientId, '?topic=cmd%2Fx')), '403 forbidden');
    assert.equal((await broker.request('POST', `/keep-alive?client-id=${other.clientId}&interval=60`, { role })).status, 403);
    for (const id of [other.clientId, 'nobody'])
      assert.equal((await broker.request('GET', `/client-id/${id}/status`, { role })).status, 403, 'nor is it told who is there');
    for (const { clientId } of clients)
      assert.deepEqual((await broker.request('GET', `/client-id/${clientId}/status`, { role })).json, { online: true });
    await other.expectNone();
  });

  test('who tries which clients there are is stopped', async (t) => {
    const broker = await startHttpBroker(t, { 'p2p.missesPerMinute': 5 });
    const answers: string[] = [];
    let last: HttpReply | null = null;
    for (let i = 0; i < 8; i++) {
      last = await send(broker, `guess-${i}`, '');
      answers.push(told(last));
    }
    assert.equal(last!.headers.get('retry-after'), '60');
    assert.deepEqual(
      answers.slice(0, 6),
      Array.from({ length: 6 }, () => '404 no-session'),
    );
    assert.deepEqual(answers.slice(6), ['429 too-many-requests', '429 too-many-requests']);
  });

  test('another name that nobody has to prove makes nobody another', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1, 'p2p.missesPerMinute': 5 });
    const answers: string[] = [];
    for (let i = 0; i < 8; i++) {
      const authorization = `Basic ${Buffer.from(`name-${i}:x`).toString('base64')}`;
      answers.push(told(await broker.request('POST', `/v1/clients/guess-${i}/messages`, { body: 'x', headers: { authorization } })));
    }
    assert.deepEqual(
      answers,
      Array.from({ length: 8 }, (_, i) => (i < 6 ? '404 no-session' : '429 too-many-requests')),
    );
  });

  test('who tries which clients there are is stopped, under however many names it asks', async (t) => {
    const file = join(mkdtempSync(join(tmpdir(), 'onehop-users-')), 'users.json');
    const facts = { attributes: {}, isSuperuser: false, remark: '' };
    writeUserFile(file, [
      { ...facts, username: 'ann', password: await hashPassword(Buffer.from('secret')) },
      { ...facts, username: 'bob', password: await hashPassword(Buffer.from('secret')) },
    ]);
    const broker = await startHttpBroker(t, { 'p2p.missesPerMinute': 5, 'auth.authenticators': [{ type: 'users', file }] });
    const guess = async (n: number, name: string): Promise<string> => {
      const headers = { authorization: `Basic ${Buffer.from(`${name}:secret`).toString('base64')}` };
      return told(await broker.request('POST', `/v1/clients/guess-${n}/messages?client_id=name-${n}`, { body: 'x', headers }));
    };
    const answers: string[] = [];
    for (let i = 0; i < 8; i++) answers.push(await guess(i, 'ann'));
    assert.deepEqual(
      answers,
      Array.from({ length: 8 }, (_, i) => (i < 6 ? '404 no-session' : '429 too-many-requests')),
    );
    assert.equal(await guess(9, 'bob'), '404 no-session', 'somebody else is not meant');
  });

  test('a quota counts each client', async (t) => {
    const broker = await startHttpBroker(t, { 'quotas.client.messagesIn': { perSecond: 1, burst: 4 } });
    await connect(broker.port, { clientId: 'd' });
    const clientIds = Array.from({ length: 10 }, () => 'd');
    const { results } = (await broker.request('POST', '/v1/clients/messages', { role, body: { clientIds } })).json as {
      results: { status?: string; problem?: { code: string } }[];
    };
    assert.ok(results.filter(({ status }) => status === 'delivered').length >= 4);
    assert.ok(results.some(({ problem }) => problem?.code === 'quota-exceeded'));
  });
});
