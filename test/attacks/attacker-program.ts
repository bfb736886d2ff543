/*
 * The attacker: a process of its own, which strikes until its input ends and then says what it saw. `node attacker-program.js STRIKE TARGET` with the target in JSON.
 */
import { setMaxListeners } from 'node:events';
import { endAll, type Sightings, STRIKES, type Target } from './strikes.ts';

const [name, target] = process.argv.slice(2);
const end = new AbortController();
process.stdin.on('end', () => {
  end.abort();
  endAll();
});
process.stdin.resume();
setMaxListeners(0, end.signal);
const sightings: Sightings = {};
process.stdout.write('striking\n');
await STRIKES[name!]!(JSON.parse(target!) as Target, end.signal, sightings);
process.stdout.write(`${JSON.stringify(sightings)}\n`);
process.exit(0);
