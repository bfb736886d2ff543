/*
 * What measured topic prefixes cost a message: one ordinary QoS 0 message to one subscriber, and one P2P message, on one shard with a channel that takes everything. Each case runs in
 * a child process of its own. Prints nanoseconds of CPU time per message, best of fifteen rounds.
 * Run: node native-bench/micro/topic-meters.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { createLog } from '../../src/base/log.ts';
import { V5 } from '../../src/protocol/packet-type.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { loadSettings } from '../../src/server/config.ts';
import { SharedMemory } from '../../src/server/wiring.ts';
import { CONNECTED, Connection } from '../../src/shard/connection.ts';
import { p2pKind, routeP2p } from '../../src/shard/p2p.ts';
import { routeMessage } from '../../src/shard/route.ts';
import { install } from '../../src/shard/routes.ts';
import { openSession } from '../../src/shard/sessions.ts';
import { Shard } from '../../src/shard/shard.ts';

const MESSAGES = 200_000;
const ROUNDS = 15;
/** Messages of one turn. */
const PER_TURN = 100;

async function oneCase(prefixes: number, isP2p: boolean): Promise<number> {
  const settings = await loadSettings({ shards: '1', set: ['store.enabled=false'] });
  const memory = new SharedMemory(1);
  const wiring = {
    index: 0,
    links: [null],
    wake: memory.wake,
    counters: memory.counters,
    quotas: memory.quotas,
    measures: memory.measures,
  };
  const shard = new Shard(settings, wiring, createLog('silent', {}));
  const channel = { write: () => true, pause: () => {}, resume: () => {}, end: () => {}, destroy: () => {} };
  const connection = new Connection(shard, channel, { name: '127.0.0.1:1', listener: 0, certificate: null });
  const { session } = openSession(shard, 'device', utf8Bytes('device'), V5, true);
  session.connection = connection;
  connection.session = session;
  connection.state = CONNECTED;
  const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, identifier: 0 };
  install(shard, { subscriber: session, filter: 'site/1/#', shareName: '', ...options });
  const others = Array.from({ length: Math.max(0, prefixes - 1) }, (_, i) => ({ prefix: `other/${i}`, since: 1 }));
  if (prefixes > 0) shard.meter([...others, { prefix: 'site/1', since: 1 }]);
  const topic = utf8Bytes(isP2p ? 'site/p2p/device' : 'site/1/temperature');
  const view = new MessageView();
  view.topicBytes = topic;
  view.topicEnd = topic.length;
  view.propertyBytes = topic;
  view.setPayload(new Uint8Array(64), 0, 64);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.cpuUsage();
    for (let i = 0; i < MESSAGES; i++) {
      shard.outcome.begin(null, 0, 0);
      if (isP2p) routeP2p(shard, view, p2pKind(shard, view), 'publisher', null, []);
      else routeMessage(shard, view, null);
      if (i % PER_TURN === 0) connection.flush();
    }
    const { user, system } = process.cpuUsage(begin);
    best = Math.min(best, ((user + system) * 1000) / MESSAGES);
  }
  return best;
}

const CASES: Record<string, () => Promise<number>> = {
  'nothing is measured': () => oneCase(0, false),
  'one prefix, which counts': () => oneCase(1, false),
  'a hundred prefixes, of which one counts': () => oneCase(100, false),
  'P2P, nothing is measured': () => oneCase(0, true),
  'P2P, one prefix': () => oneCase(1, true),
  'P2P, a hundred prefixes': () => oneCase(100, true),
};

const [name] = process.argv.slice(2);
if (name !== undefined) {
  console.log(`${name.padEnd(42)} ${(await CASES[name]!()).toFixed(0)} ns`);
  process.exit(0);
}
for (const one of Object.keys(CASES)) spawnSync(process.execPath, [fileURLToPath(import.meta.url), one], { stdio: 'inherit' });
