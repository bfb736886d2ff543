/**
 * Authenticator: one judge of logins. Several stand in a chain (`chain.ts`); the first that says yes or no decides.
 */
import type { Identity, Login } from '../shard/login.ts';

/** What one authenticator says of a login. `ignore`: it does not know the client, or is not asked for what it shows. */
export type Finding =
  | { readonly effect: 'allow'; readonly identity: Identity }
  | { readonly effect: 'deny' | 'ignore'; readonly cause: string };

export interface Authenticator {
  /** For logs and for `Identity.authenticator`. */
  readonly name: string;
  /** @throws Busy when it cannot judge now; any other error counts as `ignore` */
  judge(login: Login): Promise<Finding>;
}

/** Too much waits to be judged: the client may come again later. */
export class Busy extends Error {}

export function ignore(cause: string): Finding {
  return { effect: 'ignore', cause };
}

export function deny(cause: string): Finding {
  return { effect: 'deny', cause };
}
