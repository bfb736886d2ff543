/**
 * PasswordHash: the text that is kept instead of a password, in PHC string format: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
 */

/** Argon2id as OWASP's cheat sheet on password storage recommends it: 19 MiB, two passes, one lane. 2 is the library's number for argon2id. */
export const PASSWORD_COST = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** What a hash from elsewhere may cost: whoever writes the file must not be able to stop the threads that check it. */
const MEMORY_KIB_MAX = 256 * 1024;
const TIME_MAX = 16;
const PARALLELISM_MAX = 16;

const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}$/;

/** What is wrong with a hash, as half a sentence; null: nothing. */
export function hashProblem(hash: string): string | null {
  const match = PHC.exec(hash);
  if (match === null) return 'is no argon2id hash in PHC format';
  const [memory, time, parallelism] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (memory > MEMORY_KIB_MAX || time > TIME_MAX || parallelism > PARALLELISM_MAX)
    return `costs too much: at most m=${MEMORY_KIB_MAX}, t=${TIME_MAX}, p=${PARALLELISM_MAX}`;
  return memory < 8 * parallelism || time < 1 || parallelism < 1 ? 'has parameters that argon2 does not know' : null;
}
