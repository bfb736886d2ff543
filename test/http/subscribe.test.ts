/**
 * Server-Sent Events of a real broker: what a reader gets of what MQTT clients and HTTP callers publish, who may read, how it ends, and what a reader that is too slow costs.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { removeApiKey } from '../../src/server/api-key-commands.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker, suite } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';

/** Pieces of a stream that are waited for until there is an event in them. */
const WAITS_MAX = 10_000;
const EVENTS_MAX = 1_000;
const MESSAGES_MAX = 10_000;

interface StreamEvent {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it.
  readonly data: any;
}

/** A reader of a stream. */
class Reader {
  readonly reply: http.IncomingMessage;
  /** Lines that are no events. */
  readonly comments: string[] = [];
  private text = '';
  private hasEnded = false;
  private wake: () => void = () => {};

  constructor(reply: http.IncomingMessage) {
    this.reply = reply;
    reply.setEncoding('utf8');
    reply.on('data', (chunk: string) => {
      this.text += chunk;
      this.wake();
    });
    reply.on('error', () => {});
    reply.on('close', () => {
      this.hasEnded = true;
      this.wake();
    });
  }

  /** The next event; waits for it. Null: the stream has ended. */
  async next(): Promise<StreamEvent | null> {
    for (let waits = 0; waits < WAITS_MAX; waits++) {
      const end = this.text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.text.slice(0, end);
        this.text = this.text.slice(end + 2);
        const found = /^event: (.*)\ndata: (.*)$/.exec(block);
        if (found !== null) return { name: found[1]!, data: JSON.parse(found[2]!) };
        this.comments.push(block);
      } else if (this.hasEnded) return null;
      else
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
    }
    throw new Error(`no event in ${WAITS_MAX} pieces`);
  }

  /** The data of the next event, which is a message. */
  async message(): Promise<StreamEvent['data']> {
    const found = await this.next();
    assert.equal(found?.name, 'message');
    return found.data;
  }

  leave(): void {
    this.reply.destroy();
  }
}

async function open(broker: HttpBroker, query: string, key: string | null = broker.keys.service): Promise<Reader> {
  const headers = key === null ? {} : { authorization: `Bearer ${key}` };
  const request = http.get(`${broker.url}/v1/subscribe?${query}`, { agent: false, headers });
  const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
  return new Reader(reply);
}

/** A reader that has subscribed. */
async function subscribe(
  broker: HttpBroker,
  query: string,
  key: string | null = broker.keys.service,
): Promise<Reader & { clientId: string }> {
  const reader = await open(broker, query, key);
  assert.equal(reader.reply.statusCode, 200);
  assert.equal(reader.reply.headers['content-type'], 'text/event-stream');
  const first = await reader.next();
  assert.equal(first?.name, 'subscribed');
  return Object.assign(reader, { clientId: first.data.clientId as string });
}

describe('Server-Sent Events', () => {
  let broker: HttpBroker;
  const whole = suite();
  after(() => whole.stop());
  before(async () => {
    broker = await startHttpBroker(whole, { shards: 3 });
  });

  test('messages of every shard, text and bytes, with their properties', async () => {
    const readers = await Promise.all(Array.from({ length: 4 }, () => subscribe(broker, 'filter=plant/%23&filter=other&qos=1')));
    for (let shard = 0; shard < 3; shard++) {
      const publisher = await connect(broker.port, { clientId: clientIdOn(shard, 3) });
      await publisher.publish('plant/1', 'grüße', {
        qos: 1,
        properties: {
          contentType: 'text/plain',
          correlationData: new Uint8Array([1, 255]),
          userProperties: [['a', 'b']],
          responseTopic: 'r',
        },
      });
      await publisher.publish('other', new Uint8Array([0xff, 0xfe]), { qos: 2 });
      for (const reader of readers) {
        assert.deepEqual(await reader.message(), {
          topic: 'plant/1',
          payload: 'grüße',
          qos: 1,
          retain: false,
          properties: { contentType: 'text/plain', responseTopic: 'r', correlationData: 'Af8=', userProperties: [['a', 'b']] },
        });
        assert.deepEqual(await reader.message(), { topic: 'other', payloadBase64: '//4=', qos: 1, retain: false, properties: {} });
      }
      await publisher.disconnect();
    }
    for (const reader of readers) reader.leave();
  });

  test('more messages than a window holds come in their order at every QoS', async () => {
    for (const qos of [0, 1, 2]) {
      const reader = await subscribe(broker, `filter=many&qos=${qos}`);
      const publisher = await connect(broker.port, { clientId: clientIdOn(qos, 3) });
      const count = 500;
      await Promise.all(Array.from({ length: count }, (_, index) => publisher.publish('many', String(index), { qos })));
      for (let i = 0; i < count; i++) assert.equal((await reader.message()).payload, String(i));
      reader.leave();
      await publisher.disconnect();
    }
  });

  test('Retained Messages come first, and groups share', async () => {
    await broker.request('POST', '/topics/state/1?retained=true', { role: 'service', body: 'on' });
    const reader = await subscribe(broker, 'filter=state/%2B');
    assert.deepEqual(await reader.message(), { topic: 'state/1', payload: 'on', qos: 0, retain: true, properties: {} });
    reader.leave();
    const members = await Promise.all([0, 1].map(() => subscribe(broker, 'filter=%24share/g/work&qos=1')));
    for (let i = 0; i < 10; i++) await broker.request('POST', '/topics/work', { role: 'service', body: String(i) });
    const got = new Set<string>();
    const read = async (member: Reader): Promise<void> => {
      for (let read = 0; read <= 10; read++) {
        const one = await member.next();
        if (one === null) return;
        got.add(one.data.payload);
        if (got.size === 10) for (const each of members) each.leave();
      }
    };
    await Promise.all(members.map(read));
    assert.equal(got.size, 10);
  });

  test('an operator sees the reader as a client, one can write to it, and it goes with the request', async () => {
    const watcher = await connect(broker.port, { clientId: clientIdOn(1, 3) });
    await watcher.subscribe('$events/#');
    const reader = await subscribe(broker, 'filter=nothing');
    assert.match(reader.clientId, /^http-api-key-testservice-[0-9a-f]{16}$/);
    const heard = async (event: string): Promise<void> => {
      for (let events = 0; events < EVENTS_MAX; events++) {
        const found = JSON.parse(Buffer.from((await watcher.next()).payload).toString());
        if (found.event === event && found.clientid === reader.clientId) return;
      }
      assert.fail(`${event} is among ${EVENTS_MAX} events`);
    };
    await heard('client.connected');
    const found = (await broker.request('GET', `/api/v1/clients/${reader.clientId}`, { role: 'viewer' })).json;
    assert.ok(Math.abs(Date.parse(found.connectedAt) - Date.now()) < 60_000, found.connectedAt);
    const status = `/client-id/${reader.clientId}/status`;
    assert.equal((await broker.request('GET', status, { role: 'service' })).json.online, true);
    const sent = broker.request('POST', `/v1/clients/${reader.clientId}/messages?confirm=true&topic=to%2Fyou`, {
      role: 'service',
      body: 'hello',
    });
    assert.equal((await reader.message()).topic, 'to/you');
    assert.equal((await sent).json.status, 'acknowledged');
    reader.leave();
    await heard('client.disconnected');
    assert.equal((await broker.request('GET', status, { role: 'service' })).json.online, false);
    await watcher.disconnect();
  });

  test('a block rule for the Client Identifier that the reader has asked for ends it', async (t) => {
    const own = await startHttpBroker(t, { shards: 2, 'auth.blocked': join(storeDirectory(), 'blocked.json') });
    const reader = await subscribe(own, 'filter=a&client_id=evil', null);
    const other = await subscribe(own, 'filter=a&client_id=evilness', null);
    const body = { name: 'b', kind: 'client-id', include: 'evil*', excludes: ['evilness'] };
    assert.equal((await own.request('POST', '/api/v1/block-rules', { role: 'admin', body })).status, 201);
    assert.equal((await reader.next())?.name, 'end');
    assert.equal(await reader.next(), null);
    assert.equal((await own.request('POST', '/topics/a', { role: 'service', body: 'x' })).status, 200);
    assert.equal((await other.message()).topic, 'a', 'it is excluded');
    other.leave();
  });

  test('what is wrong is said instead of a stream', async () => {
    for (const [query, status] of [
      ['', 400],
      ['filter=', 400],
      ['filter=a%23', 400],
      ['filter=ok&filter=a%2Fb%23', 400],
      ['filter=a&qos=3', 400],
      ['filter=a&more=1', 400],
      ['filter=%24share/g', 400],
      [Array.from({ length: 33 }, (_, index) => `filter=f${index}`).join('&'), 400],
      ['filter=x/p2p/somebody', 403],
    ] as const) {
      const { reply } = await open(broker, query);
      assert.equal(reply.statusCode, status, query);
      reply.destroy();
    }
    const { reply } = await open(broker, 'filter=a', 'ohk_no_no');
    assert.equal(reply.statusCode, 401);
    reply.destroy();
  });
});

describe('Server-Sent Events that end', () => {
  test('the key is removed, the broker stops', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const viewer = await open(broker, 'filter=a', broker.keys.viewer);
    const service = await open(broker, 'filter=a');
    assert.equal((await viewer.next())?.name, 'subscribed');
    assert.equal((await service.next())?.name, 'subscribed');
    removeApiKey(broker.keyFile, 'testviewer');
    assert.deepEqual((await viewer.next())?.data, { reasonCode: 0x87, reason: 'Not authorized' });
    assert.equal(await viewer.next(), null);
    const stopped = broker.stop();
    assert.deepEqual((await service.next())?.data, { reasonCode: 0x8b, reason: 'Server shutting down' });
    assert.equal(await service.next(), null);
    assert.equal(await stopped, 0);
  });

  test('statements decide, and a reader that is too slow loses QoS 0 and is told how many', async (t) => {
    const broker = await startHttpBroker(t, {
      'limits.outboundBytes': 65_536,
      'authorization.statements': [
        { effect: 'deny', actions: ['subscribe'], topics: ['secret/#'] },
        { effect: 'allow', actions: ['subscribe'], topics: ['open/#'] },
        { effect: 'allow', actions: ['publish'], topics: ['open/#'] },
      ],
    });
    for (const [filter, status] of [
      ['secret/x', 403],
      ['%23', 403],
    ] as const) {
      const { reply } = await open(broker, `filter=${filter}`);
      assert.equal(reply.statusCode, status);
      reply.destroy();
    }
    const reader = await open(broker, 'filter=open/%23');
    assert.equal((await reader.next())?.name, 'subscribed');
    // It does not read: the buffers of the network fill, then those of the broker.
    reader.reply.pause();
    const body = 'x'.repeat(500_000);
    const publish = async (payload: string): Promise<void> => {
      assert.equal((await broker.request('POST', '/topics/open/a?qos=0', { role: 'service', body: payload })).status, 200);
    };
    let count = 0;
    for (; count < 60; count++) await publish(body);
    let got = 0;
    const read = async (): Promise<void> => {
      while (got <= count) {
        const one = await reader.next();
        if (one === null || one.data.payload === 'last') return;
        got++;
      }
    };
    reader.reply.resume();
    const reading = read();
    for (; reader.comments.length === 0; count++) {
      assert.ok(count < MESSAGES_MAX, 'something is dropped');
      await publish('more');
    }
    await publish('last');
    await reading;
    const lost = reader.comments.reduce((sum, comment) => sum + Number(/^: dropped (\d+)$/.exec(comment)?.[1] ?? 0), 0);
    assert.ok(lost > 0);
    assert.equal(got + lost, count);
    reader.leave();
  });
});
