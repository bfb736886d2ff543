/*
 * Goal: `onehop trace` prints what becomes of messages while it happens, each event once, and leaves no trace behind, also where nobody reads it any more; traces are listed and ended.
 * Method: the compiled program as a child process beside real MQTT clients of one real broker with two shards.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test, { describe, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';
import { beginCommand, runCommand, runUnread } from './run-command.ts';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

interface Event {
  readonly event: string;
  readonly topic: string;
  readonly clientId?: string;
}

describe('onehop trace', () => {
  test('prints events as they happen, until Ctrl-C', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const env = { XDG_CONFIG_HOME: storeDirectory(), ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.operator };
    assert.match((await runCommand(['trace'], env)).stderr, /say what to trace/);
    const [sender, receiver] = await Promise.all(['sender', 'receiver'].map((clientId) => connect(broker.port, { clientId })));
    t.after(() => Promise.all([sender!.destroy(), receiver!.destroy()]));
    await receiver!.subscribe('plant/#', { qos: 1 });
    const child = spawn(process.execPath, [main, 'trace', '--filter', 'plant/#', '--json'], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'close');
    // A trace counts from when every shard has it.
    let runs = 0;
    while (runs === 0) runs = ((await broker.request('GET', '/api/v1/traces', { role: 'viewer' })).json as { data: object[] }).data.length;
    await sender!.publish('plant/1/temp', '21.5', { qos: 1 });
    await sender!.publish('other', 'x', { qos: 1 });
    const events: Event[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      events.push(JSON.parse(line) as Event);
      if (events.at(-1)!.event === 'acknowledged') child.kill('SIGINT');
    }
    assert.deepEqual(await ended, [0, null]);
    assert.deepEqual(events.map(({ event }) => event).sort(), ['acknowledged', 'delivered', 'published', 'routed']);
    assert.ok(events.every(({ topic }) => topic === 'plant/1/temp'));
    assert.equal(events.find(({ event }) => event === 'delivered')!.clientId, 'receiver');
    const left = (await broker.request('GET', '/api/v1/traces', { role: 'viewer' })).json as { data: object[] };
    assert.deepEqual(left.data, []);
  });

  test('ends with the reader of its output', async (t) => {
    const { broker, env, running } = await scene(t);
    const sender = await connect(broker.port, { clientId: 'sender' });
    t.after(() => sender.destroy());
    const ended = runUnread(['trace', '--sample', '1'], env);
    await running(1);
    await sender.publish('any/topic', 'x', { qos: 1 });
    assert.equal((await ended).exit, 0);
    await running(0);
  });

  test('says what becomes of a message that is gone', async (t) => {
    const { env, running } = await scene(t);
    const id = '0193752d8c00000000000000000000a1';
    const traced = beginCommand(['trace', '--message', id], env);
    await running(1);
    traced.kill('SIGTERM');
    const { exit, stderr } = await traced.ended;
    assert.equal(exit, 0, stderr);
    assert.match(stderr, new RegExp(`^0 events\\n.*onehop api GET /api/v1/messages/${id}/trace\\n$`));
  });

  test('traces are listed and ended by whoever needs room for another', async (t) => {
    const { broker, env, running } = await scene(t);
    const begin = (body: object): Promise<HttpReply> => broker.request('POST', '/api/v1/traces', { role: 'operator', body });
    const first = (await begin({ filter: 'plant/#', clientId: 'dev-1', sample: 5 })).json as { id: string };
    for (let n = 1; n < 16; n++) assert.equal((await begin({ sample: 1 })).status, 201);
    const refused = await runCommand(['trace', '--client', 'a'], env);
    assert.equal(refused.exit, 1);
    assert.match(refused.stderr, /16 traces run already: "onehop trace list" .*"onehop trace end ID"/);
    const [head, ...rows] = (await runCommand(['trace', 'list'], env)).stdout.trimEnd().split('\n');
    assert.match(head!, /^TRACE +STATE +OF +EVENTS +LOST +ENDS +BY$/);
    assert.equal(rows.length, 16);
    assert.match(
      rows.find((row) => row.startsWith(first.id))!,
      / running +client dev-1, plant\/#, one message in 5 +0 +0 +in \d.* +api key testoperator$/,
    );
    assert.equal(rows.filter((row) => row.includes(' every message ')).length, 15);
    const json = (await runCommand(['trace', 'list', '--json'], env)).stdout.trimEnd().split('\n');
    assert.ok(json.map((line) => (JSON.parse(line) as { id: string }).id).includes(first.id));
    assert.equal((await runCommand(['trace', 'end', first.id], env)).stdout, `${first.id}: ended\n`);
    await running(15);
    const again = await runCommand(['trace', 'end', first.id], env);
    assert.deepEqual([again.exit, again.stderr], [1, `onehop: no trace ${first.id} runs\n`]);
  });
});

interface Scene {
  readonly broker: HttpBroker;
  readonly env: Readonly<Record<string, string>>;
  /** Waits until so many traces run. */
  running(count: number): Promise<void>;
}

async function scene(t: TestContext): Promise<Scene> {
  const broker = await startHttpBroker(t, { shards: 2 });
  const env = { XDG_CONFIG_HOME: storeDirectory(), ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.operator };
  const states = async (): Promise<string[]> =>
    ((await broker.request('GET', '/api/v1/traces', { role: 'viewer' })).json.data as { state: string }[]).map(({ state }) => state);
  return {
    broker,
    env,
    running: (count) =>
      until(`${count} running traces`, async () => (await states()).filter((state) => state === 'running').length === count),
  };
}
