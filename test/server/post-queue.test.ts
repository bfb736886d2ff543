/*
 * Goal: a queue of POSTs tells of every item once what has become of it, also when it is stopped: what was under way gets a short time, what was not sent is said so.
 * Method: a real HTTP server that answers when the test says so.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { PostQueue } from '../../src/server/post-queue.ts';

interface Service {
  readonly url: URL;
  /** Resolves with the next request, which has no answer yet. */
  next(): Promise<{ readonly body: string; readonly response: ServerResponse }>;
}

async function service(t: TestContext): Promise<Service> {
  const waiting: { readonly body: string; readonly response: ServerResponse }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    waiting.push({ body, response });
    server.emit('asked');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    next: async () => {
      while (waiting.length === 0) await once(server, 'asked');
      return waiting.shift()!;
    },
  };
}

describe('a queue of POSTs', { concurrency: true }, () => {
  function queueOf(url: URL, retries = 0, itemsMax = 10): { queue: PostQueue; done: [string, string | null][] } {
    const done: [string, string | null][] = [];
    const queue = new PostQueue({
      url,
      timeoutMilliseconds: 20_000,
      retries,
      itemsMax,
      headers: () => ({ 'content-type': 'text/plain' }),
      done: ({ body }, problem) => done.push([String(body), problem]),
    });
    return { queue, done };
  }

  test('sends in order, and says of each what has become of it', async (t) => {
    const { url, next } = await service(t);
    const { queue, done } = queueOf(url, 0, 2);
    for (const body of ['a', 'b', 'c', 'd']) queue.push({ body, weight: 1 });
    assert.deepEqual(done, [['d', 'the queue is full']], 'one is under way, two wait');
    for (const [body, status] of [
      ['a', 204],
      ['b', 400],
      ['c', 200],
    ] as const) {
      const asked = await next();
      assert.equal(asked.body, body);
      asked.response.writeHead(status).end();
    }
    await queue.stop();
    assert.deepEqual(done.slice(1), [
      ['a', null],
      ['b', 'status 400'],
      ['c', null],
    ]);
  });

  test('that is stopped sends what is left, and takes nothing more', async (t) => {
    const { url, next } = await service(t);
    const { queue, done } = queueOf(url);
    for (const body of ['a', 'b', 'c']) queue.push({ body, weight: 1 });
    const stopped = queue.stop();
    queue.push({ body: 'd', weight: 1 });
    for (let n = 0; n < 3; n++) (await next()).response.writeHead(200).end();
    await stopped;
    assert.deepEqual(done, [
      ['d', 'the queue is full'],
      ['a', null],
      ['b', null],
      ['c', null],
    ]);
  });

  test('that is stopped tries nothing again', async (t) => {
    const { url, next } = await service(t);
    const { queue, done } = queueOf(url, 5);
    queue.push({ body: 'a', weight: 1 });
    const { response } = await next();
    const stopped = queue.stop();
    response.writeHead(503, { 'retry-after': '60' }).end();
    await stopped;
    assert.deepEqual(done, [['a', 'status 503']]);
  });

  test('that is stopped while a service does not answer waits a short time only', async (t) => {
    const { url, next } = await service(t);
    const { queue, done } = queueOf(url);
    for (const body of ['a', 'b']) queue.push({ body, weight: 1 });
    await next();
    await queue.stop();
    // What is under way may have come; it ends with its connection.
    assert.deepEqual(done[0], ['b', 'it was not sent before the end']);
    while (done.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(done[1]![0], 'a');
    assert.notEqual(done[1]![1], null);
  });
});
