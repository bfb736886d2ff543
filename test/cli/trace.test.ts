/*
 * Goal: `onehop trace` prints what becomes of messages while it happens, each event once, and leaves no trace behind.
 * Method: the compiled program as a child process beside real MQTT clients of one real broker with two shards.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from '../support/client.ts';
import { startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { runCommand } from './run-command.ts';

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
});
