/**
 * Requests as bytes on a connection: what is asked and not read, heads that can be read in two ways, HEAD, and much that waits. Over a real broker.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, test } from 'node:test';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { until } from '../support/until.ts';

const HEALTH = 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';

async function counterOf(broker: HttpBroker, name: string): Promise<number> {
  return (await broker.request('GET', '/api/v1/counters', { role: 'viewer' })).json[name];
}

/** Sends bytes, and gives what comes until the broker closes, or until `isEnough`. */
async function exchange(broker: HttpBroker, bytes: string, isEnough: (text: string) => boolean = () => false): Promise<string> {
  const socket = net.connect(broker.ports[1]!, '127.0.0.1');
  let text = '';
  const ended = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (isEnough(text)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
  socket.write(bytes);
  await ended;
  return text;
}

describe('requests on the wire', () => {
  test('who asks for much and reads nothing is asked nothing more', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1 });
    const socket = net.connect(broker.ports[1]!, '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.pause();
    const asked = 200;
    socket.write('GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(asked));
    // The first answers are with the network; the one that it does not take ends the connection.
    await until('the connection is ended', async () => (await counterOf(broker, 'http/aborted')) === 1);
    assert.equal(await counterOf(broker, 'http/answers/unread'), 0);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.resume();
    await once(socket, 'close');
    assert.ok(text.split('HTTP/1.1 200 OK').length < asked / 2);
  });

  test('a large answer comes whole to who reads slowly, and the connection goes on', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1, 'limits.packetSize': '8MiB' });
    const client = await connect(broker.port);
    const payload = Buffer.alloc(6_000_000, 'abcdefg');
    await client.publish('large', payload, { qos: 1, retain: true });
    const socket = net.connect(broker.ports[1]!, '127.0.0.1');
    await once(socket, 'connect');
    socket.pause();
    const authorization = `Authorization: Bearer ${broker.keys.operator}`;
    socket.write(`GET /api/v1/retained/large HTTP/1.1\r\nHost: 127.0.0.1\r\n${authorization}\r\n\r\n`);
    await until('the network takes no more of the answer', async () => (await counterOf(broker, 'http/answers/unread')) > payload.length);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.resume();
    await until('the answer is read', async () => (await counterOf(broker, 'http/answers/unread')) === 0);
    socket.write(HEALTH);
    while (!text.endsWith('{"status":"ok"}')) await once(socket, 'data');
    const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4, text.lastIndexOf('HTTP/1.1 200 OK')));
    assert.ok(Buffer.from(body.payloadBase64, 'base64').equals(payload));
    socket.destroy();
    await client.disconnect();
  });

  test('the head of an answer alone, and the connection goes on', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1 });
    const head = HEALTH.replace('GET', 'HEAD');
    const text = await exchange(broker, head + head + HEALTH, (all) => all.endsWith('{"status":"ok"}'));
    assert.equal(text.match(/HTTP\/1\.1 200 OK/g)?.length, 3);
    assert.equal(text.match(/Content-Length: 15\r\n/g)?.length, 3);
    const stream = await fetch(`${broker.url}/v1/subscribe?filter=x`, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${broker.keys.service}` },
    });
    assert.equal(stream.status, 405);
    assert.equal(await counterOf(broker, 'http/streams/count'), 0);
  });

  test('a head that others may read otherwise is refused, and nothing behind it is served', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1 });
    const heads = [
      'Content-Length: 1\r\nContent-Length: 40',
      'Content-Length: 1\r\nContent-Length: 1',
      'Content-Length:',
      'Transfer-Encoding: identity',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      'Host: elsewhere',
    ];
    for (const more of heads) {
      const head = `POST /topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n\r\n`;
      const before = await counterOf(broker, 'http/requests');
      const answered = await exchange(broker, head + HEALTH);
      assert.doesNotMatch(answered, /200 OK/, more);
      assert.ok((await counterOf(broker, 'http/requests')) - before <= 2, more);
      for (const method of ['POST', 'HEAD', 'GET'])
        assert.match(await exchange(broker, head.replace('POST', method)), /^HTTP\/1\.1 400 /, `${method} ${more}`);
    }
    assert.equal(await counterOf(broker, 'publish/received'), 0);
  });

  test('long names have room in the head of a request', async (t) => {
    const broker = await startHttpBroker(t);
    const client = await connect(broker.port);
    const topics = ['a', 'b', 'c'].map((letter) => `long/${letter.repeat(12_000)}`);
    for (const topic of topics) await client.publish(topic, 'x', { qos: 1, retain: true });
    const found: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const { status, json } = await broker.request('GET', `/api/v1/retained?filter=long/%23&limit=1${query}`, { role: 'viewer' });
      assert.equal(status, 200);
      found.push(...json.data.map(({ topic }: { topic: string }) => topic));
      cursor = json.next ?? null;
    }
    assert.deepEqual(found.sort(), topics);
    assert.equal((await broker.request('POST', `/topics/${topics[0]}`, { role: 'service', body: 'x' })).status, 200);
    await client.disconnect();
  });

  test('gzip only for who takes it', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1 });
    for (const [wanted, encoding] of [
      ['gzip;q=0', undefined],
      ['br, gzip; q=0.0', undefined],
      ['gzip;q=0, identity', undefined],
      ['x-gzip-foo', undefined],
      ['gzip;q=0.5', 'gzip'],
      ['br;q=0, GZIP', 'gzip'],
    ] as const) {
      const request = http.request(`${broker.url}/openapi.json`, { headers: { 'accept-encoding': wanted } }).end();
      const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
      reply.resume();
      assert.equal(reply.headers['content-encoding'], encoding, wanted);
      await once(reply, 'end');
    }
  });

  test('bodies of requests that wait for clients are no longer there', async (t) => {
    const broker = await startHttpBroker(t, { shards: 1, 'limits.queueBytes': '200MiB', 'http.requestSize': '2MiB' });
    const device = await connect(broker.port, { clientId: 'away', cleanStart: false, properties: { sessionExpiryInterval: 600 } });
    await device.disconnect();
    const send = (path: string, body: Uint8Array): Promise<number> => {
      const request = http.request(`${broker.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${broker.keys.service}`, 'transfer-encoding': 'chunked' },
      });
      request.write(body);
      request.end(body);
      return once(request, 'response').then(([reply]) => {
        (reply as http.IncomingMessage).resume();
        return (reply as http.IncomingMessage).statusCode!;
      });
    };
    const half = Buffer.alloc(500_000);
    const waiting: Promise<number>[] = [];
    for (let i = 0; i < 70; i++) {
      waiting.push(send('/v1/clients/away/messages?confirm=true&timeout=60', half));
      await until('the request waits', async () => (await counterOf(broker, 'http/waiting')) === waiting.length + 1);
    }
    assert.equal(await send('/topics/other', Buffer.from('x')), 200);
    await broker.request('DELETE', '/api/v1/clients/away?session=true', { role: 'operator' });
    for (const status of await Promise.all(waiting)) assert.equal(status, 409);
  });
});
