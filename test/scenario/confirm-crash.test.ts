/*
 * Goal: the shard of a client dies while somebody waits over HTTP until that client has acknowledged. Who waits is told at once that nobody can tell any more, and the message is
 * there when the client comes back.
 * Method: two shards with a store; the request lands on one, the client belongs to the other, which is told to die.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { connect, payloadText } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type CrashableBroker, stageCrashable } from './crashable.ts';

const SHARDS = 2;
const DEAD = 1;
const TRIES_MAX = 200;
/** Long: an answer that waits for this is none. */
const TIMEOUT_SECONDS = 600;
const stays = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } };

interface Reply {
  readonly status: number;
  readonly id: string;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it.
  readonly json: any;
}

function ask(agent: http.Agent, port: number, method: string, path: string, body: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host: '127.0.0.1', port, method, path, headers: { 'content-length': body.length } });
    request.on('error', reject);
    request.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () =>
        resolve({
          status: answer.statusCode!,
          id: String(answer.headers['x-request-id']),
          text,
          json: text.startsWith('{') ? JSON.parse(text) : null,
        }),
      );
    });
    request.end(body);
  });
}

/** One connection that ends in the shard that lives on. */
async function agentOfSurvivor(broker: CrashableBroker): Promise<http.Agent> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const { id } = await ask(agent, broker.ports[1]!, 'GET', '/healthz', '');
    if (!id.startsWith(`${DEAD}-`)) return agent;
    agent.destroy();
  }
  throw new Error(`no connection of ${TRIES_MAX} ends in the other shard`);
}

/** Waits until the client's shard has answered for the message of the request that waits: what comes behind it on the same way is answered later. */
async function isTaken(broker: CrashableBroker, clientId: string, state: string): Promise<void> {
  const agent = await agentOfSurvivor(broker);
  const end = Date.now() + 20_000;
  const isWaiting = async (): Promise<boolean> => {
    const { text } = await ask(agent, broker.ports[1]!, 'GET', '/metrics', '');
    return /^onehop_p2p_confirmations_waiting\S* 1$/m.test(text);
  };
  while (!(await isWaiting())) assert.ok(Date.now() < end, 'the request waits in time');
  const behind = await ask(agent, broker.ports[1]!, 'POST', `/v1/clients/${clientId}/messages`, 'behind');
  assert.deepEqual([behind.status, behind.json.status], [202, state]);
  agent.destroy();
}

describe('a client’s shard dies while somebody waits for the client', () => {
  for (const isConnected of [true, false])
    test(`which is ${isConnected ? 'connected' : 'away'}`, async (t) => {
      const listeners = [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0' },
      ];
      const broker = await stageCrashable(t, { shards: SHARDS, listeners, 'metrics.public': true });
      const agent = await agentOfSurvivor(broker);
      t.after(() => agent.destroy());
      const clientId = clientIdOn(DEAD, SHARDS);
      const device = await connect(broker.port, { clientId, ...stays, autoAck: false });
      if (!isConnected) await device.disconnect();
      const path = `/v1/clients/${clientId}/messages?confirm=true&timeout=${TIMEOUT_SECONDS}`;
      const answer = ask(agent, broker.ports[1]!, 'POST', path, 'precious');
      if (isConnected) assert.equal(payloadText(await device.next()), 'precious');
      const state = isConnected ? 'delivered' : 'queued';
      await isTaken(broker, clientId, state);
      await broker.crashAndWait(DEAD);
      const { status, json } = await answer;
      assert.deepEqual([status, json.code, json.state], [504, 'timeout', state]);
      assert.match(json.detail, /the shard of the client failed/);

      const back = await connect(broker.port, { clientId, ...stays });
      assert.equal(payloadText(await back.next()), 'precious', 'the message is not lost');
      assert.equal(payloadText(await back.next()), 'behind');
      // And the next one is confirmed as ever.
      assert.equal((await ask(agent, broker.ports[1]!, 'POST', path, 'next')).status, 200);
      assert.equal(payloadText(await back.next()), 'next');
      await back.disconnect();
      assert.equal(await broker.stop(), 0);
    });

  test('which has not taken the message yet: its successor does, and who waits hears of the client', async (t) => {
    const listeners = [
      { type: 'tcp', bind: '127.0.0.1:0' },
      { type: 'http', bind: '127.0.0.1:0' },
    ];
    const broker = await stageCrashable(t, { shards: SHARDS, listeners });
    const agent = await agentOfSurvivor(broker);
    t.after(() => agent.destroy());
    const clientId = clientIdOn(DEAD, SHARDS);
    await (await connect(broker.port, { clientId, ...stays })).disconnect();
    broker.crash(DEAD);
    await broker.logged('another shard died; its clients reconnect', 1);
    const path = `/v1/clients/${clientId}/messages?confirm=true&timeout=${TIMEOUT_SECONDS}`;
    const answer = ask(agent, broker.ports[1]!, 'POST', path, 'precious');
    await broker.logged('a shard serves again', 1);
    const back = await connect(broker.port, { clientId, ...stays });
    assert.equal(payloadText(await back.next()), 'precious');
    const { status, json } = await answer;
    assert.deepEqual([status, json.status], [200, 'acknowledged']);
    await back.disconnect();
    assert.equal(await broker.stop(), 0);
  });
});
