/**
 * Subscriptions and groups over HTTP, of brokers with one shard and with three: by filter, topic, client and share name, page by page, and what waits in a group.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, type TestClient } from '../support/client.ts';
import { endAllClients, type HttpBroker, startHttpBroker } from '../support/http.ts';
import { until } from '../support/until.ts';

interface Row {
  readonly clientId: string;
  readonly filter: string;
}

async function rows(broker: HttpBroker, query: string): Promise<string[]> {
  const found: string[] = [];
  for (let cursor = ''; ; ) {
    const { status, json, text } = await broker.request('GET', `/api/v1/subscriptions?${query}${cursor}`, { role: 'viewer' });
    assert.equal(status, 200, text);
    for (const { clientId, filter } of json.data as Row[]) found.push(`${clientId} ${filter}`);
    if (json.next === null) return found.sort();
    cursor = `&cursor=${json.next}`;
  }
}

for (const shards of [1, 3])
  test(`subscriptions of ${shards} shards`, async (t) => {
    const broker = await startHttpBroker(t, { shards, 'mqtt.sharedStrategy': 'round-robin' });
    await t.test('by filter, topic, client and group', async () => {
      const clients: TestClient[] = [];
      for (let i = 0; i < 5; i++) {
        const client = await connect(broker.port, { clientId: `c/${i}`, properties: { sessionExpiryInterval: 100 } });
        clients.push(client);
        await client.subscribe('all/#', { qos: 1 });
        await client.subscribe(`all/${i}`, { qos: 2 });
        if (i < 2) await client.subscribe('$share/g/all/+');
        if (i === 3) await client.subscribe('#');
      }
      await clients[4]!.destroy();
      const everything = await rows(broker, 'limit=2');
      assert.equal(everything.length, 13);
      assert.equal(new Set(everything).size, 13);
      assert.equal((await broker.request('GET', '/api/v1/subscriptions', { role: 'viewer' })).json.total, 13);
      assert.deepEqual(
        await rows(broker, 'filter=all/%23'),
        [0, 1, 2, 3, 4].map((i) => `c/${i} all/#`),
      );
      assert.deepEqual(await rows(broker, `filter=${encodeURIComponent('$share/g/all/+')}&limit=1`), [
        'c/0 $share/g/all/+',
        'c/1 $share/g/all/+',
      ]);
      assert.deepEqual(await rows(broker, 'topic=all/2&clientId=c/2'), ['c/2 all/#', 'c/2 all/2']);
      assert.deepEqual(await rows(broker, 'topic=other'), ['c/3 #']);
      assert.deepEqual(await rows(broker, 'topic=$SYS/x'), []);
      assert.equal((await rows(broker, 'topic=all/2')).length, 5 + 1 + 2 + 1);
      assert.deepEqual(await rows(broker, 'clientId=c/3&limit=1'), ['c/3 #', 'c/3 all/#', 'c/3 all/3']);
      assert.deepEqual(await rows(broker, 'group=g'), ['c/0 $share/g/all/+', 'c/1 $share/g/all/+']);
      assert.deepEqual(await rows(broker, 'clientId=nobody'), []);
      const one = (await broker.request('GET', '/api/v1/subscriptions?group=g&limit=1', { role: 'viewer' })).json.data[0];
      assert.deepEqual(
        { ...one, clientId: '' },
        {
          clientId: '',
          filter: '$share/g/all/+',
          topicFilter: 'all/+',
          qos: 0,
          noLocal: false,
          retainAsPublished: false,
          retainHandling: 0,
          identifier: null,
          group: 'g',
          observesP2p: false,
        },
      );
      assert.equal((await broker.request('GET', '/api/v1/subscriptions?filter=', { role: 'viewer' })).status, 400);
      assert.equal((await broker.request('GET', '/api/v1/subscriptions', { role: 'service' })).status, 403);
      for (const client of clients.slice(0, 4)) await client.disconnect();
    });

    await t.test('groups: members, who is there, and what waits', async () => {
      await endAllClients(broker);
      const members: TestClient[] = [];
      for (let i = 0; i < 4; i++) {
        const member = await connect(broker.port, {
          clientId: `m${i}`,
          autoAck: false,
          properties: { sessionExpiryInterval: 100, receiveMaximum: 1 },
        });
        members.push(member);
        await member.subscribe('$share/work/jobs/#', { qos: 1 });
        if (i === 0) await member.subscribe('$share/other/jobs/#', { qos: 1 });
      }
      const publisher = await connect(broker.port, { clientId: 'publisher' });
      for (let i = 0; i < 12; i++) await publisher.publish(`jobs/${i}`, 'x', { qos: 1 });
      const { json } = await broker.request('GET', '/api/v1/groups?limit=1', { role: 'viewer' });
      assert.equal(json.data[0].name, 'other');
      const second = await broker.request('GET', `/api/v1/groups?limit=1&cursor=${json.next}`, { role: 'viewer' });
      const { lag, inflight, ...group } = second.json.data[0];
      assert.deepEqual(group, { name: 'work', filter: 'jobs/#', members: 4, online: 4 });
      // m0 has two subscriptions, of which each has its own share: what is in flight to it may be of the other.
      assert.ok(lag >= 8 && lag <= 9, `lag ${lag}`);
      assert.equal(inflight, 4);
      await members[3]!.destroy();
      const path = `/api/v1/groups/work/${encodeURIComponent('jobs/#')}`;
      const isNoticed = async (): Promise<boolean> =>
        (await broker.request('GET', `${path}?limit=2`, { role: 'viewer' })).json.online === 3;
      await until('the member that has gone is noticed', isNoticed);
      // The members of that answer may have been looked up a moment before they were counted.
      const detail = await broker.request('GET', `${path}?limit=2`, { role: 'viewer' });
      assert.equal(detail.json.strategy, 'round-robin');
      assert.equal(detail.json.total, 4);
      const rest = await broker.request('GET', `${path}?limit=2&cursor=${detail.json.next}`, { role: 'viewer' });
      const all = [...detail.json.data, ...rest.json.data] as {
        clientId: string;
        state: string;
        lag: number;
        qos: number;
        inflight: number;
      }[];
      assert.deepEqual(all.map(({ clientId }) => clientId).sort(), ['m0', 'm1', 'm2', 'm3']);
      assert.equal(all.find(({ clientId }) => clientId === 'm3')!.state, 'disconnected');
      assert.equal(all.find(({ clientId }) => clientId === 'm1')!.qos, 1);
      assert.equal(
        all.reduce((sum, member) => sum + member.lag, 0),
        detail.json.lag,
      );
      assert.equal((await broker.request('GET', '/api/v1/groups?name=other', { role: 'viewer' })).json.data.length, 1);
      assert.equal((await broker.request('GET', '/api/v1/groups/none/jobs', { role: 'viewer' })).status, 404);
      assert.equal((await broker.request('GET', '/api/v1/groups', { role: 'service' })).status, 403);
      await publisher.disconnect();
      for (const member of members.slice(0, 3)) await member.destroy();
    });
  });
