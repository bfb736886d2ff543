/**
 * The keys of `auth`: who may connect.
 */
import { z } from 'zod';
import type { AuthenticatorSettings, AuthSettings } from '../base/settings.ts';
import { key, optionalKey, section } from './config-key.ts';
import { count, duration, flag, type KeyFacts, show } from './config-value.ts';

const AUTHENTICATORS_MAX = 16;
const million = 1_000_000;

const authenticator: z.ZodType<AuthenticatorSettings, unknown> = z.strictObject(
  {
    type: z.literal('users', { error: (issue) => `expected users, not ${show(issue.input)}` }),
    file: z
      .string({ error: (issue) => `expected a file such as ./users.json, not ${show(issue.input)}` })
      .refine((value) => value !== '' && !value.includes('\0'), { error: 'expected a file such as ./users.json' }),
  },
  {
    error: (issue) => (issue.code === 'invalid_type' ? `expected { type: users, file: ./users.json }, not ${show(issue.input)}` : undefined),
  },
);

/** The section. */
export const auth = section({
  allowAnonymous: optionalKey(
    flag(),
    'true on loopback only',
    'Whether clients may connect that show neither name nor password. Not written: yes, as long as there are no authenticators and every listener is bound to this machine (127.0.0.0/8, ::1, localhost). Written `true`: yes, on any address. Written `false`: only with a proof that an authenticator accepts.',
  ),
  authenticators: z
    .array(authenticator, { error: (issue) => `expected a list such as [{ type: users, file: ./users.json }], not ${show(issue.input)}` })
    .max(AUTHENTICATORS_MAX, { error: `expected at most ${AUTHENTICATORS_MAX} authenticators` })
    .prefault([])
    .meta({
      type: 'list of authenticators',
      default: 'none',
      text: 'Who judges the clients that connect, one after the other: the first that says yes or no decides. `{ type: users, file: ./users.json }`: names and passwords of a file that `onehop user` writes.',
      verbatim: false,
    } satisfies KeyFacts),
  timeout: key(
    duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
    '10s',
    'How long a client waits for the verdict. Then it is told Server unavailable.',
  ),
  waiting: key(
    count(1, million),
    2_000,
    'Logins that wait for a verdict, in all shards. A further one is told Server busy; clients try again.',
  ),
  passwordThreads: key(
    count(1, 64),
    1,
    'Threads that check passwords. One checks about fifty in a second, each for the first time only.',
  ),
  failures: section({
    window: key(duration({ unit: 'milliseconds', min: 1_000, max: 86_400_000 }), '1m', 'Time for which failed logins are counted.'),
    perAddress: key(
      count(0, million),
      30,
      'Failed logins of one address in that time; then its logins are refused unjudged until the time is over. Of IPv6 the first 64 bits count. 0: no limit, for clients behind one address that belongs to many.',
    ),
    perName: key(
      count(0, million),
      100,
      'Failed logins for one name in that time, from all addresses. Addresses from which that name has logged in before are not kept out. 0: no limit.',
    ),
  }),
});

/** In the names and units of `Settings`. */
export function authSettings(file: z.output<typeof auth>): AuthSettings {
  const { allowAnonymous, authenticators, timeout, waiting, passwordThreads, failures } = file;
  return {
    allowAnonymous: allowAnonymous ?? authenticators.length === 0,
    authenticators,
    timeoutMilliseconds: timeout,
    waitingMax: waiting,
    passwordThreads,
    failures: { windowMilliseconds: failures.window, perAddress: failures.perAddress, perName: failures.perName },
  };
}
