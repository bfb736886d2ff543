/**
 * Alarms as a state machine: raised when a value has been bad for so long, cleared when it has been good for so long, once for each time; and the rules read what they say.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AlarmRuleName, AlarmRuleSettings } from '../../src/base/settings.ts';
import { alarmRules } from '../../src/server/alarm-rules.ts';
import { Alarms, type Reading } from '../../src/server/alarms.ts';
import { loadSettings } from '../../src/server/config.ts';
import { counter, countersBytes, countersRow } from '../../src/shard/counters.ts';
import { Measures, measuresBytes } from '../../src/shard/measures.ts';
import { readCertificates } from '../../src/transports/certificates.ts';
import { Authority } from '../support/certificates.ts';

type Rules = Record<AlarmRuleName, AlarmRuleSettings>;

/** One rule whose readings the test sets. */
function oneRule(
  settings: Partial<AlarmRuleSettings>,
  isFalling = false,
): { alarms: Alarms; told: string[]; set: (...readings: Reading[]) => void } {
  let readings: readonly Reading[] = [];
  const rule = { enabled: true, threshold: 90, clear: 80, forMilliseconds: 0, ...settings };
  const alarms = new Alarms(
    [{ name: 'shardLoad', unit: 'percent', isFalling, say: ({ value }) => `it is ${value}`, read: () => readings }],
    { shardLoad: rule } as Rules,
  );
  const told: string[] = [];
  alarms.changed = (event, { subject, value }) => told.push(`${event} ${subject} ${value}`);
  return {
    alarms,
    told,
    set: (...next) => {
      readings = next;
    },
  };
}

describe('alarms', () => {
  test('a value must be bad for so long, without a pause', () => {
    const { alarms, told, set } = oneRule({ forMilliseconds: 3000 });
    const look = (value: number, at: number): void => {
      set({ subject: 'shard 0', value });
      alarms.look(at);
    };
    look(95, 0);
    look(95, 2000);
    look(89, 2500);
    look(95, 3000);
    look(95, 5900);
    assert.deepEqual(told, []);
    look(96, 6000);
    assert.deepEqual(told, ['alarm_raised shard 0 96']);
    look(99, 20_000);
    assert.equal(told.length, 1, 'it is raised once');
    assert.equal(alarms.active[0]!.value, 99);
  });

  test('between the two values nothing changes, and the good one must last, too', () => {
    const { alarms, told, set } = oneRule({ forMilliseconds: 1000 });
    const look = (value: number, at: number): void => {
      set({ subject: '', value });
      alarms.look(at);
    };
    look(90, 0);
    look(90, 1000);
    for (let at = 2000; at < 10_000; at += 500) look(at % 1000 === 0 ? 85 : 95, at);
    assert.deepEqual(told, ['alarm_raised  90']);
    look(80, 10_000);
    look(81, 10_500);
    look(80, 11_000);
    assert.equal(told.length, 1);
    look(79, 12_000);
    assert.deepEqual(told.at(-1), 'alarm_cleared  79');
    assert.deepEqual(alarms.active, []);
    const { data } = alarms.list('cleared', 10, null);
    assert.equal(data.length, 1);
    assert.notEqual(data[0]!.clearedAt, null);
  });

  test('subjects have states of their own, and one that is gone has nothing wrong', () => {
    const { alarms, told, set } = oneRule({});
    set({ subject: 'a', value: 95 }, { subject: 'b', value: 10 }, { subject: 'c', value: 99 });
    alarms.look(0);
    set({ subject: 'b', value: 91 }, { subject: 'c', value: 99 });
    alarms.look(1);
    assert.deepEqual(told, ['alarm_raised a 95', 'alarm_raised c 99', 'alarm_raised b 91', 'alarm_cleared a 95']);
  });

  test('where small values are bad', () => {
    const { alarms, told, set } = oneRule({ threshold: 14, clear: 15 }, true);
    for (const value of [20, 14, 13, 14, 15]) {
      set({ subject: '', value });
      alarms.look(value);
    }
    assert.deepEqual(told, ['alarm_raised  14', 'alarm_cleared  15']);
  });

  test('a rule that is switched off says nothing', () => {
    const { alarms, told, set } = oneRule({ enabled: false });
    set({ subject: '', value: 100 });
    alarms.look(0);
    assert.deepEqual(told, []);
  });

  test('the list has pages, a bounded past, and who has seen what', () => {
    const { alarms, set } = oneRule({});
    for (let i = 0; i < 1100; i++) {
      set({ subject: '', value: 95 });
      alarms.look(i);
      set({ subject: '', value: 10 });
      alarms.look(i);
    }
    set({ subject: '', value: 95 });
    alarms.look(2000);
    const first = alarms.list(null, 600, null);
    assert.equal(first.total, 1001);
    assert.equal(first.data[0]!.state, 'active');
    const second = alarms.list(null, 600, first.next);
    assert.equal(second.next, null);
    assert.equal(new Set([...first.data, ...second.data].map(({ id }) => id)).size, 1001);
    assert.equal(alarms.acknowledge(first.data[0]!.id, 'user ann')?.acknowledgedBy, 'user ann');
    assert.equal(alarms.acknowledge(second.data[0]!.id, 'user bob')?.state, 'cleared');
    assert.equal(alarms.acknowledge('nothing-1', 'user ann'), null);
    set({ subject: '', value: 10 });
    alarms.look(3000);
    assert.equal(alarms.list('cleared', 1, null).data[0]!.acknowledgedBy, 'user ann');
  });
});

describe('rules', () => {
  test('each reads what it says', async () => {
    const authority = new Authority('alarms');
    const soon = authority.issueAs('soon', '/CN=soon', ['-days', '10']);
    const settings = await loadSettings({
      env: {},
      set: [
        'limits.connections=200',
        'limits.sessions=1000',
        'limits.queuedBytesTotal=1MiB',
        'shards=2',
        `listeners=[{ type: tls, bind: 127.0.0.1:0, tls: { certificates: [{ chain: ${soon.chain}, key: ${soon.key} }] } }]`,
      ],
    });
    const files = await readCertificates(settings.listeners[0]!.tls!);
    const counters = new SharedArrayBuffer(countersBytes(2));
    const measures = new SharedArrayBuffer(measuresBytes(2));
    const rules = alarmRules({ settings, counters, measures, certificates: () => [files, null] });
    const rows = [countersRow(counters, 0), countersRow(counters, 1)] as const;
    const read = (name: AlarmRuleName): readonly Reading[] => rules.find((rule) => rule.name === name)!.read();
    const value = (name: AlarmRuleName): number => read(name)[0]!.value;
    assert.deepEqual(new Set(rules.map(({ name }) => name)), new Set(Object.keys(settings.alarms.rules)));
    for (const { read: first } of rules) first();
    rows[0][counter('clients/connected')] = 100;
    rows[1][counter('clients/connected')] = 80;
    rows[1][counter('clients/total')] = 500;
    rows[0][counter('queued/bytes')] = 2 ** 19;
    rows[1][counter('inflight/bytes')] = 2 ** 18;
    rows[1][counter('store/degraded')] = 1;
    rows[0][counter('connections/blocked')] = 7;
    rows[0][counter('shard/restarts')] = 1;
    rows[0][counter('publish/dropped/queue-full')] = 1e6;
    rows[0][counter('logins/refused')] = 1e6;
    rows[0][counter('ring/full')] = 1e6;
    const { vitals } = new Measures(measures, 1);
    vitals[4] = 0.97;
    vitals[5] = 0.75;
    assert.equal(value('connections'), 90);
    assert.equal(value('sessions'), 50);
    assert.equal(value('queuedBytes'), 75);
    assert.equal(value('storeDegraded'), 1);
    assert.equal(value('slowConsumers'), 7);
    assert.equal(value('shardRestarted'), 1);
    for (const name of ['droppedMessages', 'loginFailures', 'ringFull'] as const) assert.ok(value(name) > 1000, name);
    assert.deepEqual(read('shardLoad')[1], { subject: 'shard 1', value: 97 });
    assert.deepEqual(read('eventLoopLag')[1], { subject: 'shard 1', value: 750 });
    const [certificate] = read('certificateExpiry');
    assert.equal(certificate!.subject, 'listener 0');
    assert.ok(certificate!.value === 9 || certificate!.value === 10, String(certificate!.value));
    assert.ok(value('memory') >= 0 && value('memory') < 100);
  });
});
