/*
 * Goal: the broker behaves as every normative statement of MQTT 3.1, 3.1.1 and 5.0 says that a byte script can judge, with 1, 2 and 4 shards.
 * Method: all scripts of this folder run, several at a time, against brokers that run as processes of their own: one for each profile of
 * settings.json and each shard count. With more than one shard every script runs twice: all its clients on one shard, then spread. With two shards they run
 * once more over each other transport, spread.
 *
 * CONFORMANCE_BROKER=host:port judges another broker instead, with the default profile alone; there a close without Reason Code passes,
 * since the standard leaves that open. CONFORMANCE_ONLY=text runs the scripts whose
 * file, name or statements hold the text.
 */

import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { startBroker } from '../support/broker.ts';
import type { DialPlace } from '../support/dial.ts';
import { TestDoors } from '../support/doors.ts';
import type { PacketTemplates } from './notation.ts';
import { type Failure, type RunOptions, runScript } from './run-script.ts';
import { loadProfiles, loadScripts, loadTemplates, type Protocol, type Script, sourceRoot } from './scripts.ts';

/** Scripts under way at one time; most of their time is waiting. */
const SCRIPTS_AT_ONCE = 64;

/** How long one expectation may wait. The longest wait that a script asks for is a Keep Alive of two seconds, one and a half times. */
const DEADLINE_MILLISECONDS = 8000;

/** Other brokers may look at Keep Alive more seldom. */
const FOREIGN_DEADLINE_MILLISECONDS = 20000;

/** How often a script is run for which the machine had no time. */
const LATE_RUNS_MAX = 5;

const SHARD_COUNTS = [1, 2, 4] as const;
/** Shards with which the scripts run over every transport. */
const TRANSPORT_SHARDS = 2;

const scripts = loadScripts().filter(chosen);

const templates = new Map<Protocol, PacketTemplates>(
  (['3.1', '3.1.1', '5.0'] as const).map((protocol) => [protocol, loadTemplates(protocol)]),
);

/** Every run has its own part of the topic and Client Identifier spaces. */
let runs = 0;

const judged = process.env['CONFORMANCE_BROKER'];
if (judged !== undefined) {
  const [host, port] = judged.split(':') as [string, string];
  test(`conformance of ${judged}`, async () => {
    const fitting = scripts.filter((script) => script.profile === 'default');
    assertPassed(await runAll(fitting, { place: { transport: 'tcp', host, port: Number(port) }, shards: 1, placement: 'together' }));
  });
} else {
  for (const shards of SHARD_COUNTS) {
    // Most of a script's time is waiting, so the brokers of all profiles run side by side.
    describe(`conformance with ${shards} shard${shards === 1 ? '' : 's'}`, { concurrency: true }, () => {
      for (const [profile, settings] of Object.entries(loadProfiles())) {
        const fitting = scripts.filter((script) => script.profile === profile);
        if (fitting.length > 0) {
          test(`profile ${profile}: ${fitting.length} scripts`, () => runProfile(settings, shards, fitting));
        }
      }
    });
  }
}

async function runProfile(settings: Readonly<Record<string, unknown>>, shards: number, fitting: readonly Script[]): Promise<void> {
  const doors = shards === TRANSPORT_SHARDS ? new TestDoors() : null;
  const own = JSON.parse(JSON.stringify(settings).replaceAll('{source}', sourceRoot())) as Record<string, unknown>;
  const broker = await startBroker({ shards, ...(doors === null ? {} : { listeners: doors.listeners }), ...own });
  try {
    const place: DialPlace = { transport: 'tcp', host: '127.0.0.1', port: broker.port };
    const reports = await runAll(fitting, { place, shards, placement: 'together' });
    if (shards > 1) reports.push(...(await runAll(fitting, { place, shards, placement: 'spread' })));
    for (const other of doors?.places(broker.ports).slice(1) ?? [])
      reports.push(...(await runAll(fitting, { place: other, shards, placement: 'spread' })));
    assertPassed(reports);
  } finally {
    await broker.stop();
  }
}

function assertPassed(reports: readonly string[]): void {
  if (reports.length > 0) {
    assert.fail(`${reports.length} scripts failed:\n\n${reports.join('\n\n')}\n`);
  }
}

/** Runs the scripts, those that want to be alone one by one at the end, and returns the reports of those that did not pass. */
async function runAll(all: readonly Script[], place: Pick<RunOptions, 'place' | 'shards' | 'placement'>): Promise<string[]> {
  const reports: string[] = [];
  const deadlineMilliseconds = judged === undefined ? DEADLINE_MILLISECONDS : FOREIGN_DEADLINE_MILLISECONDS;
  const run = (script: Script): Promise<Failure | undefined> => {
    const unique = (runs++).toString(36).padStart(4, '0');
    return runScript(script, {
      ...place,
      unique,
      templates: templates.get(script.protocol)!,
      bareCloses: judged !== undefined,
      deadlineMilliseconds,
    });
  };
  const one = async (script: Script): Promise<void> => {
    let failure = await run(script);
    for (let count = 1; failure?.wasLate && count < LATE_RUNS_MAX; count++) failure = await run(script);
    if (failure !== undefined) {
      reports.push(`${failure.report}\n  shards ${place.shards}, clients ${place.placement}, over ${place.place.transport}`);
    }
  };
  const waiting = all.filter((script) => !script.alone);
  const lane = async (): Promise<void> => {
    for (let script = waiting.shift(); script !== undefined; script = waiting.shift()) {
      await one(script);
    }
  };
  await Promise.all(Array.from({ length: SCRIPTS_AT_ONCE }, lane));
  for (const script of all.filter((candidate) => candidate.alone)) {
    await one(script);
  }
  return reports;
}

function chosen(script: Script): boolean {
  const only = process.env['CONFORMANCE_ONLY'];
  return only === undefined || [script.file, script.name, ...script.statements].some((text) => text.includes(only));
}
