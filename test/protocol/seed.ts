/*
 * Makes the random tests of a file repeatable: SEED=n runs them with that seed, otherwise one is drawn. It is printed either way.
 */

import fc from 'fast-check';

const { SEED } = process.env;
const seed: number = SEED === undefined ? Date.now() % 0x7fffffff : Number(SEED);
fc.configureGlobal({ seed });
process.stdout.write(`seed ${seed}\n`);
