/*
 * Goal: alarms, metrics and tracing are others while the broker runs, by PATCH and by SIGHUP, on every shard; what cannot be is refused whole, and
 * keys of services are told to nobody.
 * Method: real brokers and real HTTP services.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connect } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker } from '../support/http.ts';
import { startHttpReceiver } from '../support/http-receiver.ts';
import { clientIdOn } from '../support/placement.ts';
import { until } from '../support/until.ts';

function patch(broker: HttpBroker, body: object): Promise<HttpReply> {
  return broker.request('PATCH', '/api/v1/config', { role: 'admin', body });
}

describe('what may change while the broker runs', { concurrency: 2 }, () => {
  test('alarms: thresholds, rules that are switched off, another webhook', async (t) => {
    const receiver = await startHttpReceiver(t);
    const broker = await startHttpBroker(t, { shards: 2, 'limits.connections': 4 });
    const active = async (): Promise<string[]> => {
      const { json } = await broker.request('GET', '/api/v1/alarms?state=active', { role: 'viewer' });
      return json.data.map(({ rule }: { rule: string }) => rule).filter((rule: string) => rule === 'connections');
    };
    const clients = [await connect(broker.port), await connect(broker.port)];
    const alarms = { rules: { connections: { threshold: 50, clear: 10, for: '0s' } }, webhook: { url: `${receiver.url}/hook-s3cret` } };
    const changed = await patch(broker, { alarms });
    assert.equal(changed.status, 200, changed.text);
    assert.ok(!changed.text.includes('hook-s3cret'), 'the address is hidden');
    await until('the alarm is raised', async () => (await active()).length === 1);
    await receiver.until((requests) => requests.some(({ body }) => body.includes('alarm.raised') && body.includes('connections')));
    assert.equal((await patch(broker, { alarms: { rules: { connections: { enabled: false } } } })).status, 200);
    assert.deepEqual(await active(), [], 'nobody looks at it any more');
    const wrong = await patch(broker, { alarms: { webhook: { secret: '/nowhere/secret' } }, metrics: { public: true } });
    assert.equal(wrong.status, 422, wrong.text);
    assert.match(wrong.json.detail, /^alarms\.webhook\.secret: .*no such file/i);
    assert.equal((await broker.request('GET', '/metrics')).status, 403, 'nothing of it holds');
    assert.equal((await patch(broker, { alarms: { nonsense: 1 } })).status, 422);
    const { text } = await broker.request('GET', '/api/v1/audit', { role: 'viewer' });
    assert.ok(text.includes('"alarms":["rules","webhook"]') && !text.includes('hook-s3cret'), text);
    for (const client of clients) await client.disconnect();
  });

  test('metrics: open and shut on every shard, and another sample', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2, 'metrics.routeSample': 0 });
    const statuses = async (): Promise<number[]> => {
      // Each over a connection of its own, so that both shards are asked.
      const replies = Array.from({ length: 20 }, () => fetch(`${broker.url}/metrics`, { headers: { connection: 'close' } }));
      return [...new Set((await Promise.all(replies)).map(({ status }) => status))];
    };
    assert.deepEqual(await statuses(), [403]);
    assert.equal((await patch(broker, { metrics: { public: true, routeSample: 1 } })).status, 200);
    assert.deepEqual(await statuses(), [200]);
    const client = await connect(broker.port);
    await client.subscribe('sampled/#');
    for (let i = 0; i < 100; i++) await client.publish('sampled/x', 'x', { qos: 1 });
    const { json } = await broker.request('GET', '/api/v1/slow/routes', { role: 'viewer' });
    assert.ok(
      json.data.some(({ topic }: { topic: string }) => topic === 'sampled/x'),
      JSON.stringify(json),
    );
    assert.equal((await broker.request('DELETE', '/api/v1/config', { role: 'admin' })).status, 200);
    assert.deepEqual(await statuses(), [403]);
    assert.deepEqual((await broker.request('GET', '/api/v1/slow/routes', { role: 'viewer' })).json.data, []);
    await client.disconnect();
  });

  test('headers of one collector do not go to another', async (t) => {
    const broker = await startHttpBroker(t, {
      'tracing.otlp': 'http://127.0.0.1:1/',
      'tracing.headers': { authorization: 'Bearer hunter2' },
    });
    const moved = await patch(broker, { tracing: { otlp: 'http://127.0.0.1:2/' } });
    assert.equal(moved.status, 422, moved.text);
    assert.match(moved.json.detail, /tracing\.headers: authorization/);
    assert.ok(!moved.text.includes('hunter2'));
    assert.equal((await patch(broker, { tracing: { otlp: 'http://127.0.0.1:1/other' } })).status, 200);
    const free = await patch(broker, { tracing: { otlp: 'http://127.0.0.1:2/', headers: { authorization: 'Bearer other' } } });
    assert.equal(free.status, 200, free.text);
  });

  test('tracing: switched on, to another collector and off, by SIGHUP', async (t) => {
    const [first, second] = [await startHttpReceiver(t), await startHttpReceiver(t)];
    const config = join(mkdtempSync(join(tmpdir(), 'onehop-config-')), 'onehop.yaml');
    writeFileSync(config, '');
    const broker = await startHttpBroker(t, { shards: 2, config });
    const client = await connect(broker.port, { clientId: clientIdOn(1, 2) });
    let reloads = 0;
    const reload = async (text: string): Promise<void> => {
      writeFileSync(config, text);
      process.kill(broker.pid, 'SIGHUP');
      reloads++;
      const isRead = ({ msg, sections }: Record<string, unknown>): boolean =>
        msg === 'the configuration was read again' && (sections as string[]).includes('tracing');
      await until('the configuration is read', async () => broker.log.filter(isRead).length >= reloads);
      // An answer to a change comes when every shard has taken what it was told before.
      assert.equal((await patch(broker, { log: { level: 'info' } })).status, 200);
    };
    const traced = async (): Promise<boolean> => {
      await client.subscribe('traced');
      await client.publish('traced', 'x', { qos: 1 });
      return (await client.next()).properties.userProperties?.some(([key]) => key === 'traceparent') === true;
    };
    assert.equal(await traced(), false);
    await reload(`tracing: { otlp: "${first.url}", sample: 1 }\n`);
    assert.equal(await traced(), true);
    await first.until((requests) => requests.length > 0);
    await reload(`tracing: { otlp: "${second.url}", sample: 1 }\n`);
    assert.equal(await traced(), true);
    await second.until((requests) => requests.length > 0);
    await reload('');
    assert.equal(await traced(), false);
    await client.disconnect();
  });
});
