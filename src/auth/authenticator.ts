/**
 * Authenticator: one judge of logins. Several stand in a chain (`chain.ts`); the first that says yes or no decides.
 */
import type { ReasonCode } from '../protocol/reason-code.ts';
import type { Identity, Login } from '../shard/login.ts';

/** What one authenticator says of a login. `ignore`: it does not know the client, or is not asked for what it shows. */
export type Finding =
  | { readonly effect: 'allow'; readonly identity: Identity }
  | { readonly effect: 'deny'; readonly cause: string; readonly code?: ReasonCode }
  | { readonly effect: 'ignore'; readonly cause: string };

export interface Authenticator {
  /** For logs and for `Identity.authenticator`. */
  readonly name: string;
  /**
   * What this authenticator takes for the client's name, where what the login shows is meant for it: failures count for that name instead of for the username.
   * Absent or null: the username.
   */
  triedName?(login: Login): string | null;
  /**
   * @param signal comes when nobody waits for the verdict any more
   * @throws TooMany when too much waits already, Gone when the signal comes first; any other error: it cannot judge this login now
   */
  judge(login: Login, signal: AbortSignal): Promise<Finding>;
}

/** What one step of an exchange has led to. */
export type ExchangeStep =
  /** The client is to be asked this. */
  | { readonly effect: 'continue'; readonly data: Uint8Array }
  /** @property data the last that the client is told */
  | { readonly effect: 'allow'; readonly identity: Identity; readonly data: Uint8Array }
  | { readonly effect: 'deny'; readonly cause: string };

/** A login of several steps, by an Authentication Method. It does nothing that takes long. */
export interface Exchange {
  /** For logs. */
  readonly authenticator: string;
  /** Who the client says it is; null: it has not said yet. */
  readonly username: string | null;
  /** @param data what the client says; null: nothing */
  step(data: Uint8Array | null): ExchangeStep;
}

/** An authenticator of clients with an Authentication Method. */
export interface MethodAuthenticator extends Authenticator {
  readonly method: string;
  open(): Exchange;
}

/** It was not asked, because it has not answered for some time. */
export class Unasked extends Error {}

export function ignore(cause: string): Finding {
  return { effect: 'ignore', cause };
}

/** @param code what the client is told; unless written it depends on what the client has shown */
export function deny(cause: string, code?: ReasonCode): Finding {
  return code === undefined ? { effect: 'deny', cause } : { effect: 'deny', cause, code };
}
