/*
 * What lists of much cost the shard that has it: 100,000 sessions with a subscription each and 100,000 Retained Messages, listed page by page as the HTTP door does. Prints for each
 * list how long the turns of the event loop were meanwhile (the longest, and the 99th percentile of those that did anything), what they took in all, and pages.
 * Run: node native-bench/micro/management-lists.bench.js [sessions]
 */

import { utf8Bytes } from '../../src/base/bytes.ts';
import { createLog } from '../../src/base/log.ts';
import type { Call } from '../../src/http/call.ts';
import { answerManagement } from '../../src/http/management/answers.ts';
import { listPage, pageAnswer } from '../../src/http/management/pages.ts';
import { V5 } from '../../src/protocol/packet-type.ts';
import { loadSettings } from '../../src/server/config.ts';
import { SharedMemory } from '../../src/server/wiring.ts';
import { ownMessage } from '../../src/shard/receipt.ts';
import { RetainedMessage } from '../../src/shard/retain.ts';
import { install } from '../../src/shard/routes.ts';
import { openSession } from '../../src/shard/sessions.ts';
import { Shard } from '../../src/shard/shard.ts';

const count = Number(process.argv[2] ?? 100_000);
const settings = await loadSettings({ shards: '1', set: ['store.enabled=false'] });
const memory = new SharedMemory(1);
const shard = new Shard(
  settings,
  { index: 0, links: [null], wake: memory.wake, counters: memory.counters, quotas: memory.quotas, measures: memory.measures },
  createLog('silent', {}),
);
shard.isServing = true;
shard.asks.toSupervisor = (ask) => shard.asks.answered(ask, null);
answerManagement(shard);

const nothing = new Uint8Array(0);
for (let i = 0; i < count; i++) {
  const clientId = `device-${i.toString(36)}`;
  const { session } = openSession(shard, clientId, utf8Bytes(clientId), V5, true);
  session.expirySeconds = 3600;
  session.closedAt = shard.timers.now;
  const filter = `site/${i % 1000}/${i}`;
  const subscription = {
    subscriber: session,
    filter,
    shareName: '',
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    identifier: 0,
  };
  session.subscriptions = new Map([[filter, subscription]]);
  install(shard, subscription, false);
  shard.retained.set(
    filter,
    new RetainedMessage(filter, ownMessage(utf8Bytes(filter), nothing, utf8Bytes('payload of a device'), 1, true)),
  );
}

const call = { shard, isOver: false } as Call;

async function measure(title: string, name: string, query: object, limit: number): Promise<void> {
  const turns: number[] = [];
  let last = performance.now();
  let used = process.cpuUsage();
  let isOver = false;
  const look = (): void => {
    const now = performance.now();
    const { user, system } = process.cpuUsage(used);
    used = process.cpuUsage();
    // On a machine that does other things as well, time passes in which nobody worked here.
    turns.push(Math.min(now - last, (user + system) / 1000));
    last = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  let pages = 0;
  let items = 0;
  let cursor: string | undefined;
  do {
    shard.startTurn();
    const page = await listPage(call, name, query, { limit, cursor });
    items += page.data.length;
    pageAnswer(page);
    pages++;
    cursor = page.next ?? undefined;
    // The next request comes in a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
  } while (cursor !== undefined);
  isOver = true;
  const busy = turns.filter((turn) => turn > 0.05).sort((a, b) => a - b);
  const p99 = busy[Math.floor(busy.length * 0.99)] ?? 0;
  const numbers = `longest turn ${busy.at(-1)!.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, in all ${busy.reduce((sum, turn) => sum + turn, 0).toFixed(0)} ms`;
  console.log(`${title.padEnd(44)} ${numbers}, ${items} items, ${pages} pages`);
}

for (const round of ['cold', 'warm']) {
  console.log(`-- ${round}`);
  await measure('clients, 1000 a page', 'client-list', {}, 1000);
  await measure('clients, 100 a page', 'client-list', {}, 100);
  await measure('clients, a search that finds nothing', 'client-list', { contains: 'nowhere' }, 1000);
  await measure('subscriptions, 1000 a page', 'subscription-list', {}, 1000);
  await measure('subscriptions that match a topic', 'subscription-list', { topic: 'site/1/1' }, 100);
  await measure('Retained Messages, 1000 a page', 'retained-list', { filter: '#' }, 1000);
}
shard.stopTimers();
process.exit(0);
