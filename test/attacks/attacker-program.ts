/*
 * The attacker: a process of its own, which strikes until its input ends and then says what it saw. `node attacker-program.js STRIKE TARGET` with the target in JSON.
 */
import { type Sightings, STRIKES, type Target } from './strikes.ts';

const [name, target] = process.argv.slice(2);
let isOver = false;
process.stdin.on('end', () => {
  isOver = true;
});
process.stdin.resume();
const sightings: Sightings = {};
process.stdout.write('striking\n');
await STRIKES[name!]!(JSON.parse(target!) as Target, () => isOver, sightings);
process.stdout.write(`${JSON.stringify(sightings)}\n`);
process.exit(0);
