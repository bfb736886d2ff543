/*
 * The simulation by command: `npm run sim -- --seeds 10000` runs new worlds, `npm run sim -- --seed N` repeats one. With `--lying` each world has a disk that
 * forgets in a crash what it has called safe, and the program says how many worlds have found that out.
 */
import { parseArgs } from 'node:util';
import { FakeDisk } from './fake-disk.ts';
import { World } from './world.ts';

const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { seed: text, from: text, seeds: text, lying: { type: 'boolean', default: false } } });
const count = values.seed === undefined ? Number(values.seeds ?? 1000) : 1;
const first = Number(values.seed ?? values.from ?? Math.floor(Math.random() * 2 ** 31));
let found = 0;
process.stdout.write(`seeds ${first} to ${first + count - 1}\n`);
for (let seed = first; seed < first + count; seed++) {
  const disk = new FakeDisk();
  disk.isLying = values.lying;
  const world = new World(seed, disk);
  try {
    await world.run();
  } catch (error) {
    found++;
    if (values.lying) continue;
    process.stdout.write(`seed ${seed} fails; "npm run sim -- --seed ${seed}" repeats it\n${(error as Error).stack}\n`);
    process.exit(1);
  }
  if ((seed - first) % 100 === 99 || count === 1)
    process.stdout.write(`${seed - first + 1} worlds, the last one: ${JSON.stringify(world.facts)}\n`);
}
if (values.lying) process.stdout.write(`found out: ${found}\n`);
process.exit(0);
