/*
 * One attack on one broker: honest clients alone, then the same with an attacker beside them. The attacker runs at the lowest priority: what is measured is what
 * the broker makes of the attack, not who gets the processors of this machine.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CounterWatch, residentBytesOf, stage, WATCHED } from '../scenario/observe.ts';
import type { BrokerOptions, TestBroker } from '../support/broker.ts';
import { HonestLoad, type HonestLogin, type Latency } from './honest-load.ts';
import type { Sightings } from './strikes.ts';

export const SHARDS = 2;
const { ATTACKS_LONG } = process.env;
/** Length of each of the two measurements; ATTACKS_LONG=1 asks for the long form. */
const RUN_MILLISECONDS: number = ATTACKS_LONG === '1' ? 15_000 : 2_500;
const WARM_UP_MILLISECONDS = 1_500;
const SAMPLE_MILLISECONDS = 100;
/** What honest clients may notice of an attack: p99 against that of the calm. */
const SLOWER_MAX = 3;
/**
 * The long form takes the calm as it is. Of two seconds p99 is a matter of chance, on a machine that others use above all: there a message may be as late as if it had
 * taken this long in the calm, which is still far from what an attack does to a broker that does not withstand it.
 */
const CALM_MILLISECONDS_MIN: number = ATTACKS_LONG === '1' ? 0 : 10;
/** Measured again, attack and calm, when it was slower: other work on the machine is no attack. */
const ATTEMPTS = 3;

export interface Attack {
  readonly strike: string;
  readonly settings: BrokerOptions;
  /** By how much the broker may grow, in bytes. */
  readonly growthMax: number;
  /** Who the honest clients are; without it they show nothing. */
  readonly honest?: HonestLogin;
  readonly attacker?: HonestLogin;
  /** Asserts that the broker has withstood, by its counters, what the attacker saw, and its log; the counters are those of all attempts. */
  readonly proof: (count: (name: string) => number, sightings: Sightings, broker: TestBroker, attempt: number) => void;
}

interface Figures {
  readonly calm: Latency;
  readonly struck: Latency;
  readonly growth: number;
}

const program = fileURLToPath(new URL('./attacker-program.js', import.meta.url));

/** Runs an attack; fails when the broker did not withstand it. */
export async function withstand(t: TestContext, attack: Attack): Promise<void> {
  const broker = await stage(t, { shards: SHARDS, ...WATCHED, ...attack.settings });
  const watch = await CounterWatch.open(broker.port, 'watch', attack.honest);
  const load = await HonestLoad.start(broker.port, SHARDS, attack.honest ?? {});
  await load.run(WARM_UP_MILLISECONDS);
  for (let attempt = 1; ; attempt++) {
    const { figures, sightings } = await measure(broker, load, attack);
    const { calm, struck, growth } = figures;
    t.diagnostic(
      `${attack.strike}: p99 ${calm.p99.toFixed(2)} → ${struck.p99.toFixed(2)} ms (${(struck.p99 / calm.p99).toFixed(1)}), median ${calm.median.toFixed(2)} → ${struck.median.toFixed(2)} ms, ${(growth / 2 ** 20).toFixed(0)} of ${attack.growthMax / 2 ** 20} MiB, ${JSON.stringify(sightings)}`,
    );
    await watch.round();
    await watch.round();
    attack.proof((name) => watch.value(name), sightings, broker, attempt);
    assert.ok(growth <= attack.growthMax, `the broker grew by ${growth} bytes`);
    if (struck.p99 <= SLOWER_MAX * Math.max(calm.p99, CALM_MILLISECONDS_MIN)) break;
    assert.ok(attempt < ATTEMPTS, `honest clients wait ${struck.p99} ms where they waited ${calm.p99} ms`);
  }
  await load.stop();
  await watch.close();
  assert.equal(await broker.stop(), 0);
}

async function measure(broker: TestBroker, load: HonestLoad, attack: Attack): Promise<{ figures: Figures; sightings: Sightings }> {
  const calm = await load.run(RUN_MILLISECONDS);
  const before = residentBytesOf(broker.pid);
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, residentBytesOf(broker.pid));
  }, SAMPLE_MILLISECONDS);
  const target = { port: broker.port, ...attack.attacker };
  const child = spawn('nice', ['-n', '19', process.execPath, program, attack.strike, JSON.stringify(target)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const lines: string[] = [];
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => lines.push(line));
    await once(reader, 'line');
    const struck = await load.run(RUN_MILLISECONDS);
    child.stdin.end();
    const [code] = await once(child, 'close');
    assert.equal(code, 0, 'the attacker came to its end');
    return { figures: { calm, struck, growth: peak - before }, sightings: JSON.parse(lines.at(-1)!) as Sightings };
  } finally {
    clearInterval(sampling);
    child.kill('SIGKILL');
  }
}
