/*
 * Goal: a disk that fails costs nothing that was promised. While it does, the broker goes on, serves what needs no disk, and refuses what it could not keep:
 * MQTT 5 is told 0x97 and why, MQTT 3 sees its connection end. It says that the store is degraded, and that it has recovered, by itself.
 * Method: the fault layer below LMDB makes writes, syncs and growth fail in the middle of traffic to durable sessions that are online and away, for a while or
 * for one call alone; then the disk works again, or the broker is killed as it is. Then SIGKILL, a start over the directory, and the judge of the crash campaign.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { drawSeed } from '../scenario/observe.ts';
import type { FaultMode } from './fault-layer.ts';
import { Scene } from './scene.ts';

type Mode = Exclude<FaultMode, 'none' | 'no-room' | 'death' | 'renamed-death'>;

/** How many calls, from the first, are tried each alone. */
const MODES: Readonly<Record<Mode, number>> = {
  // The first is the probe, before LMDB writes. A later one is a write of LMDB, and that must not be refused: LMDB would write over other memory, and a test of it
  // would sometimes end the broker.
  'write-error': 1,
  'no-space': 1,
  // These reach LMDB, which bears them.
  'short-write': 2,
  'sync-error': 2,
  'header-error': 2,
};
const SHARDS = 2;
const ACKNOWLEDGEMENTS = 150;

async function stage(t: TestContext, name: string): Promise<Scene> {
  const scene = new Scene(t, drawSeed(name), SHARDS);
  await scene.start(true);
  await scene.open();
  await scene.traffic(ACKNOWLEDGEMENTS);
  return scene;
}

function arm(scene: Scene, mode: Mode, only: number): void {
  scene.mark();
  // Where LMDB must not meet the fault, it does not come in the middle of a commit.
  scene.layer.arm(mode, only, MODES[mode] === 1);
}

/** The disk fails from now on, and the broker says so and refuses. */
async function degrade(scene: Scene, mode: Mode): Promise<void> {
  arm(scene, mode, 0);
  await scene.noticed();
  for (const [topic, target] of [
    ['cmd/p2p/away', 'away'],
    ['cmd/p2p/online-5', 'online-5'],
    ['crash/1', undefined],
  ] as const) {
    for (const qos of [1, 2] as const) {
      const { code, reason } = await scene.refusal(qos, topic, target);
      assert.equal(code, 0x97, `${topic} at QoS ${qos}`);
      assert.ok(reason !== undefined && reason !== '', 'a Reason String says why');
      await scene.close(qos, topic, target);
    }
  }
  await scene.isAlive();
  scene.askForMore();
  await scene.isAlive();
  assert.equal(scene.layer.lmdbFaults, 0, 'LMDB is not touched while writing fails');
}

/** Nothing is lost over a crash. */
async function killAndJudge(scene: Scene): Promise<void> {
  await scene.kill();
  await scene.start(false);
  await scene.drain();
  await scene.traffic(ACKNOWLEDGEMENTS);
  await scene.drain();
  assert.equal(await scene.broker.stop(), 0);
}

for (const mode of Object.keys(MODES) as Mode[]) {
  test(`${mode}: the broker refuses, recovers, and has lost nothing`, async (t) => {
    const scene = await stage(t, mode);
    await degrade(scene, mode);
    scene.layer.disarm();
    await scene.event('$events/store_recovered');
    await scene.reopen();
    await scene.traffic(ACKNOWLEDGEMENTS);
    await scene.drain();
    await scene.traffic(ACKNOWLEDGEMENTS);
    await killAndJudge(scene);
  });

  test(`${mode}: killed while it lasts, the broker has lost nothing`, async (t) => {
    const scene = await stage(t, `${mode} and killed`);
    await degrade(scene, mode);
    await killAndJudge(scene);
  });

  for (let only = 1; only <= MODES[mode]; only++) {
    test(`${mode}: call ${only} alone`, async (t) => {
      const scene = await stage(t, `${mode}, call ${only} alone`);
      arm(scene, mode, only);
      await scene.noticed();
      await scene.event('$events/store_recovered');
      assert.equal(scene.layer.injected, 1);
      await scene.isAlive();
      await scene.reopen();
      await scene.traffic(ACKNOWLEDGEMENTS);
      await killAndJudge(scene);
    });
  }
}
