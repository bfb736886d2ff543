/**
 * An alarm from its value to whoever must know: the list, the log, `$events/…`, and a service that is told by signed notices, over a real broker.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { temporaryFile } from '../support/certificates.ts';
import { connect } from '../support/client.ts';
import { startHttpBroker } from '../support/http.ts';
import { startHttpReceiver } from '../support/http-receiver.ts';
import { until } from '../support/until.ts';

describe('alarms', () => {
  test('raised, told, acknowledged, cleared', async (t) => {
    const receiver = await startHttpReceiver(t);
    // The first notice must come again.
    receiver.answer = (number) => (number === 0 ? 503 : 200);
    const secret = temporaryFile('webhook-secret');
    writeFileSync(secret, 'between us\n');
    const broker = await startHttpBroker(t, {
      shards: 2,
      'limits.connections': 4,
      'alarms.rules.connections.threshold': 75,
      'alarms.rules.connections.clear': 50,
      'alarms.rules.connections.for': 0,
      'alarms.webhook.url': `${receiver.url}/hook?team=blue`,
      'alarms.webhook.secret': secret,
    });
    const list = async (query: string): Promise<{ data: Record<string, unknown>[]; total: number }> =>
      (await broker.request('GET', `/api/v1/alarms${query}`, { role: 'viewer' })).json;
    assert.deepEqual(await list(''), { data: [], next: null, total: 0 });
    const watcher = await connect(broker.port);
    await watcher.subscribe('$events/+');
    const clients = [await connect(broker.port), await connect(broker.port)];
    const raised = await broker.line(({ msg }) => msg === 'alarm raised');
    assert.equal(raised['rule'], 'connections');
    assert.match(String(raised['message']), /75 % of the clients of the limit/);
    let event = await watcher.next();
    while (event.topic !== '$events/alarm_raised') event = await watcher.next();
    const facts = JSON.parse(Buffer.from(event.payload).toString());
    assert.equal(facts.event, 'alarm.raised');
    assert.equal(facts.threshold, 75);
    const [alarm] = (await list('?state=active')).data;
    assert.equal(alarm!['value'], 75);
    assert.equal(alarm!['id'], facts.id);

    const path = `/api/v1/alarms/${facts.id}/acknowledge`;
    assert.equal((await broker.request('POST', path, { role: 'viewer' })).status, 403);
    const seen = await broker.request('POST', path, { role: 'operator' });
    assert.equal(seen.status, 200, seen.text);
    assert.equal(seen.json.acknowledgedBy, 'api key testoperator');
    assert.equal((await broker.request('POST', '/api/v1/alarms/x-9/acknowledge', { role: 'operator' })).status, 404);

    for (const client of clients) await client.disconnect();
    await broker.line(({ msg }) => msg === 'alarm cleared');
    const [past] = (await list('')).data;
    assert.equal(past!['state'], 'cleared');
    assert.equal(past!['acknowledgedBy'], 'api key testoperator');

    await receiver.until((requests) => requests.length === 3);
    const [first, again, last] = receiver.requests;
    assert.equal(first!.body, again!.body);
    assert.equal(JSON.parse(again!.body).event, 'alarm.raised');
    assert.equal(JSON.parse(last!.body).event, 'alarm.cleared');
    assert.equal(JSON.parse(last!.body).alarm.id, facts.id);
    for (const { path: asked, headers, body } of receiver.requests) {
      assert.equal(asked, '/hook?team=blue');
      assert.equal(headers['content-type'], 'application/json');
      const [, seconds, signature] = /^t=(\d+),v1=([\da-f]{64})$/.exec(String(headers['x-onehop-signature']))!;
      assert.ok(Math.abs(Number(seconds) * 1000 - Date.now()) < 60_000);
      assert.equal(signature, createHmac('sha256', 'between us').update(`${seconds}.${body}`).digest('hex'));
    }
    // The receiver has the last notice before the broker has its answer.
    let counters: Record<string, number> = {};
    await until('the last notice is sent', async () => {
      counters = (await broker.request('GET', '/api/v1/counters', { role: 'viewer' })).json;
      return counters['alarms/notices/sent'] === 2;
    });
    assert.equal(counters['alarms/raised'], 1);
    assert.equal(counters['alarms/active'], 0);
    await watcher.disconnect();
  });

  test('a notice that is not wanted is given up, and a broker with such a service stops at once', async (t) => {
    const receiver = await startHttpReceiver(t);
    receiver.answer = () => 400;
    const broker = await startHttpBroker(t, {
      'limits.connections': 1,
      'alarms.rules.connections.for': 0,
      'alarms.webhook.url': receiver.url,
    });
    const client = await connect(broker.port);
    const line = await broker.line(({ msg }) => msg === 'a notice about an alarm was given up');
    assert.equal(line['problem'], 'status 400');
    assert.equal(receiver.requests[0]!.headers['x-onehop-signature'], undefined);
    await client.disconnect();
    assert.equal(await broker.stop(), 0);
  });

  test('an alarm of a shard names it', async (t) => {
    const broker = await startHttpBroker(t, {
      'alarms.rules.shardLoad.threshold': 0,
      'alarms.rules.shardLoad.for': 0,
    });
    const line = await broker.line(({ msg, rule }) => msg === 'alarm raised' && rule === 'shardLoad');
    assert.equal(line['subject'], 'shard 0');
  });
});
