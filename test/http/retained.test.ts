/**
 * Retained Messages and mailboxes over HTTP, of brokers with one shard and with three: listed, read, deleted, and gone for good.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, payloadText } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

async function list(broker: HttpBroker, path: string, query: string, key: string): Promise<string[]> {
  const found: string[] = [];
  for (let cursor = ''; ; ) {
    const { status, json, text } = await broker.request('GET', `/api/v1/${path}?${query}${cursor}`, { role: 'viewer' });
    assert.equal(status, 200, text);
    found.push(...(json.data as Record<string, string>[]).map((item) => item[key]!));
    if (json.next === null) return found;
    cursor = `&cursor=${json.next}`;
  }
}

for (const shards of [1, 3])
  test(`retained by ${shards} shards`, async (t) => {
    const path = storeDirectory();
    const broker = await startHttpBroker(t, { shards, 'store.path': path, 'p2p.mailbox.enabled': true });
    await t.test('mailboxes: who has one, what is in it, and its end', async () => {
      const client = await connect(broker.port, { clientId: 'sender' });
      await client.subscribe('receipts');
      for (const to of ['dev/1', 'dev/2', 'other'])
        for (const text of ['one', 'two'])
          await client.publish(`cmd/p2p/${to}`, text, {
            qos: 1,
            properties: { responseTopic: 'receipts', userProperties: text === 'two' && to === 'dev/1' ? [['p2p-receipt', '1']] : [] },
          });
      assert.deepEqual((await list(broker, 'mailboxes', 'limit=1', 'clientId')).sort(), ['dev/1', 'dev/2', 'other']);
      assert.deepEqual((await list(broker, 'mailboxes', 'prefix=dev/', 'clientId')).sort(), ['dev/1', 'dev/2']);
      assert.equal((await broker.request('GET', '/api/v1/mailboxes', { role: 'viewer' })).json.total, 3);
      const { json } = await broker.request('GET', '/api/v1/mailboxes/dev%2F1', { role: 'operator' });
      assert.equal(json.messages, 2);
      assert.ok(json.bytes > 0);
      assert.ok(Date.parse(json.expiresAt) > Date.parse(json.createdAt));
      const texts = (json.messageList as { payloadBase64: string; topic: string }[]).map(
        ({ payloadBase64, topic }) => `${topic} ${Buffer.from(payloadBase64, 'base64')}`,
      );
      assert.deepEqual(texts, ['cmd/p2p/dev/1 one', 'cmd/p2p/dev/1 two']);
      assert.equal((await broker.request('DELETE', '/api/v1/mailboxes/dev%2F1', { role: 'viewer' })).status, 403);
      assert.deepEqual((await broker.request('DELETE', '/api/v1/mailboxes/dev%2F1', { role: 'operator' })).json, {
        deleted: true,
        messages: 2,
      });
      assert.equal(JSON.parse(payloadText(await client.next())).status, 'dropped');
      assert.equal((await broker.request('GET', '/api/v1/mailboxes/dev%2F1', { role: 'viewer' })).status, 404);
      assert.equal((await broker.request('DELETE', '/api/v1/mailboxes/dev%2F1', { role: 'operator' })).status, 404);
      const late = await connect(broker.port, { clientId: 'dev/1' });
      await late.expectNone();
      await late.disconnect();
      await client.disconnect();
    });

    await t.test('listed in order by any filter, read, and deleted for good', async () => {
      const client = await connect(broker.port, { clientId: 'publisher' });
      const topics = ['a', 'a/', 'a/b', 'a/b/c', 'a/b!', 'a-b', 'ä/ö', '/x', 'z/1/state', 'z/2/state', 'z/10/state', 'z/1/other'];
      for (const topic of topics) await client.publish(topic, `of ${topic}`, { qos: 1, retain: true });
      await client.publish('a/b', 'rich', {
        qos: 2,
        retain: true,
        properties: {
          contentType: 'text/plain',
          responseTopic: 'answers',
          correlationData: Buffer.from([1, 2]),
          payloadFormatIndicator: 1,
          messageExpiryInterval: 1000,
          userProperties: [['k', 'v']],
        },
      });
      const inOrder = ['/x', 'a', 'a/', 'a/b', 'a/b/c', 'a/b!', 'a-b', 'z/1/other', 'z/1/state', 'z/10/state', 'z/2/state', 'ä/ö'];
      assert.deepEqual(await list(broker, 'retained', 'limit=1', 'topic'), inOrder);
      assert.deepEqual(await list(broker, 'retained', 'limit=1000', 'topic'), inOrder);
      assert.equal((await broker.request('GET', '/api/v1/retained', { role: 'viewer' })).json.total, topics.length);
      const by = (filter: string): Promise<string[]> => list(broker, 'retained', `limit=2&filter=${encodeURIComponent(filter)}`, 'topic');
      assert.deepEqual(await by('a/#'), ['a', 'a/', 'a/b', 'a/b/c', 'a/b!']);
      assert.deepEqual(await by('z/+/state'), ['z/1/state', 'z/10/state', 'z/2/state']);
      assert.deepEqual(await by('+/+'), ['/x', 'a/', 'a/b', 'a/b!', 'ä/ö']);
      assert.deepEqual(await by('a'), ['a']);
      assert.deepEqual(await by('none/#'), []);
      assert.ok((await by('$SYS/broker/+')).includes('$SYS/broker/version'));
      const hidden = await broker.request('GET', '/api/v1/retained/a%2Fb', { role: 'viewer' });
      assert.deepEqual([hidden.json.topic, hidden.json.payloadBase64, hidden.json.properties], ['a/b', null, null]);
      const { json } = await broker.request('GET', '/api/v1/retained/a%2Fb', { role: 'operator' });
      assert.ok(Date.parse(json.expiresAt) > Date.now() + 900_000);
      assert.deepEqual(
        { ...json, expiresAt: null },
        {
          topic: 'a/b',
          qos: 2,
          retain: true,
          bytes: 4,
          payloadBase64: Buffer.from('rich').toString('base64'),
          expiresAt: null,
          properties: {
            payloadFormat: 1,
            contentType: 'text/plain',
            responseTopic: 'answers',
            correlationData: 'AQI=',
            userProperties: [['k', 'v']],
          },
        },
      );
      assert.equal((await broker.request('GET', '/api/v1/retained/%C3%A4/ö', { role: 'viewer' })).json.topic, 'ä/ö');
      assert.equal((await broker.request('GET', '/api/v1/retained//x', { role: 'viewer' })).json.topic, '/x');
      assert.equal((await broker.request('GET', '/api/v1/retained/none', { role: 'viewer' })).status, 404);
      assert.equal((await broker.request('GET', '/api/v1/retained/a/%23', { role: 'viewer' })).status, 400);
      assert.equal((await broker.request('GET', '/api/v1/retained?filter=a/%23/b', { role: 'viewer' })).status, 400);
      assert.equal((await broker.request('DELETE', '/api/v1/retained/a/b', { role: 'viewer' })).status, 403);
      await client.subscribe('a/b', { retainHandling: 2 });
      assert.deepEqual((await broker.request('DELETE', '/api/v1/retained/a/b', { role: 'operator' })).json, { deleted: true });
      assert.equal((await broker.request('DELETE', '/api/v1/retained/a/b', { role: 'operator' })).status, 404);
      await client.ping();
      await client.expectNone();
      await client.disconnect();
      await broker.kill();
      const again = await startHttpBroker(t, { shards, 'store.path': path });
      assert.deepEqual(
        await list(again, 'retained', '', 'topic'),
        inOrder.filter((topic) => topic !== 'a/b'),
      );
    });
  });
