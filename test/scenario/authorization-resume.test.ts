/*
 * Goal: a session that is resumed keeps only the subscriptions that its client may have now; whoever takes up the session of somebody else does not inherit what
 * that one might hear.
 * Method: a stored session, resumed under another username, and again after a restart with other statements.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { stage } from './observe.ts';

const kept = { cleanStart: false, properties: { sessionExpiryInterval: 600 } } as const;

function allow(topics: readonly string[], usernames?: readonly string[]): object {
  return { effect: 'allow', actions: ['publish', 'subscribe'], topics, ...(usernames !== undefined && { usernames }) };
}

describe('authorization of resumed sessions', () => {
  for (const shards of [1, 2]) {
    test(`${shards} shards: another user, other statements`, async (t) => {
      const path = storeDirectory();
      const clientId = clientIdOn(shards - 1, shards, 'taken');
      const statements = [allow(['plant/#'], ['boss']), allow(['open/#'])];
      const broker = await stage(t, { shards, 'store.path': path, 'authorization.statements': statements });
      const boss = await connect(broker.port, { clientId, username: 'boss', ...kept });
      const codes = (
        await boss.subscribe([{ filter: 'plant/#' }, { filter: 'open/1' }, { filter: '$share/g/plant/1' }, { filter: 'open/2' }], {
          qos: 1,
        })
      ).codes;
      assert.deepEqual([...codes], [1, 1, 1, 1]);
      await boss.disconnect();
      const other = await connect(broker.port, { clientId, username: 'other', ...kept });
      assert.equal(other.connack.sessionPresent, true);
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards), username: 'boss' });
      assert.equal((await publisher.publish('plant/1', 'secret', { qos: 1 })).code, 0x10, 'nobody subscribes any more');
      assert.equal((await publisher.publish('open/1', 'news', { qos: 1 })).code, 0);
      assert.equal((await other.next()).topic, 'open/1');
      await other.disconnect();
      await broker.stop();
      const again = await stage(t, { shards, 'store.path': path, 'authorization.statements': [allow(['open/2', 'plant/#'])] });
      const resumed = await connect(again.port, { clientId, ...kept });
      assert.equal(resumed.connack.sessionPresent, true);
      const sender = await connect(again.port, { clientId: clientIdOn(0, shards) });
      assert.equal((await sender.publish('plant/1', '', { qos: 1 })).code, 0x10, 'what was ended stays ended');
      assert.equal((await sender.publish('open/2', '', { qos: 1 })).code, 0);
      assert.equal((await resumed.next()).topic, 'open/2');
      await resumed.expectNone();
    });
  }
});
