/**
 * Chain: all authenticators of the configuration, in its order.
 *
 *   too many failures? ──▶ refused at once
 *   first authenticator ─ allow, deny ──▶ decided
 *     └ ignore ─▶ the next … ─▶ nothing was shown and anonymous clients are allowed ─▶ let in
 *                              else ─▶ refused
 *
 * A client with an Authentication Method is judged by the one that knows the method, in an exchange of steps, and by nobody else.
 *
 * A refusal says the same whatever was wrong: who guesses learns nothing of which names there are.
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import { ANYBODY, type Login, type LoginVerdict } from '../shard/login.ts';
import { attributesProblem } from './attributes.ts';
import { type Authenticator, type Exchange, type MethodAuthenticator, Unasked } from './authenticator.ts';
import type { FailedLogins } from './failed-logins.ts';
import { Gone, TooMany } from './turns.ts';

/** As tokens are at most; longer ones only fill memory. */
const USERNAME_LENGTH_MAX = 8192;
/** Those that judge the name which the client shows. */
const PROVES_NAME: ReadonlySet<string> = new Set(['users', 'http']);

/** A verdict, or what the client is to be asked before there can be one. */
export type LoginStep = LoginVerdict | Uint8Array;

export interface ChainSettings {
  readonly allowAnonymous: boolean;
}

/** What one authenticator has said of logins since the start. */
export interface LoginTally {
  accepted: number;
  refused: number;
  /** Logins that it left to the next. */
  ignored: number;
  /** Logins that it could not judge. */
  failed: number;
}

/** One authenticator, and what it has said. */
export interface ChainEntry {
  readonly authenticator: Authenticator;
  readonly tally: LoginTally;
}

export function chainEntry(authenticator: Authenticator): ChainEntry {
  return { authenticator, tally: { accepted: 0, refused: 0, ignored: 0, failed: 0 } };
}

export class Chain {
  /** In the order in which they are asked. Another list where they change: what one says that is not in it any more counts for nothing. */
  private entries: readonly ChainEntry[];
  private readonly settings: ChainSettings;
  private readonly failed: FailedLogins;
  /** Told of an authenticator that cannot do its work. */
  private readonly troubled: (authenticator: string, error: Error) => void;

  constructor(
    entries: readonly ChainEntry[],
    settings: ChainSettings,
    failed: FailedLogins,
    troubled: (authenticator: string, error: Error) => void,
  ) {
    this.entries = entries;
    this.settings = settings;
    this.failed = failed;
    this.troubled = troubled;
  }

  /** Logins from now on are judged by these. */
  replace(entries: readonly ChainEntry[]): void {
    this.entries = entries;
  }

  /**
   * Judges one login.
   * @param clock milliseconds that do not go back
   * @param signal comes when nobody waits for the verdict any more
   * @returns the verdict: 0x86 for a wrong proof, 0x87 where none was shown, 0x88 where who could say does not answer, 0x89 when too much waits, 0x9F after too
   *   many failures (section 3.2.2.2)
   */
  async judge(login: Login, clock: () => number, signal: AbortSignal): Promise<LoginVerdict> {
    const { address, username } = login;
    if (username !== null && username.length > USERNAME_LENGTH_MAX)
      return refusal(ReasonCode.BadUserNameOrPassword, 'the username is too long');
    // Who shows nothing guesses nothing.
    if (username === null && login.password === null) return this.ask(login, signal);
    const { name, prover } = this.triedBy(login);
    const attempt = await this.failed.enter(address, name, clock, signal);
    if (typeof attempt === 'string') return refusal(ReasonCode.ConnectionRateExceeded, attempt);
    let verdict: LoginVerdict | null = null;
    try {
      verdict = await this.ask(login, signal);
    } finally {
      this.failed.leave(attempt, verdict?.code === ReasonCode.BadUserNameOrPassword, clock());
    }
    const by = verdict.identity?.authenticator;
    if (by !== undefined && (prover === null ? PROVES_NAME.has(by) : by === prover)) this.failed.succeeded(attempt);
    return verdict;
  }

  /** The name that a login tries, and the one authenticator that it means; null: the username, and whoever judges that. */
  private triedBy(login: Login): { name: string | null; prover: string | null } {
    for (const { authenticator } of this.entries) {
      const name = authenticator.triedName?.(login) ?? null;
      // No username has a NUL in it, so none is counted with this one.
      if (name !== null) return { name: `\0${name}`, prover: authenticator.name };
    }
    return { name: login.username, prover: null };
  }

  /** Begins an exchange. @returns null: nobody knows the method */
  open(method: string): Exchange | null {
    for (const { authenticator } of this.entries)
      if ('method' in authenticator && authenticator.method === method) return (authenticator as MethodAuthenticator).open();
    return null;
  }

  /**
   * One step of an exchange. Only while it is taken does the login count as under way: a client that stops halfway has tried nothing, and keeps nobody waiting.
   * @param exchange null: nobody knows the method
   * @returns what the client is to be asked, or the verdict: 0x86 for a wrong proof, 0x8C for an unknown method, 0x9F after too many failures
   */
  async step(
    exchange: Exchange | null,
    data: Uint8Array | null,
    address: string,
    clock: () => number,
    signal: AbortSignal,
  ): Promise<LoginStep> {
    if (exchange === null) return refusal(ReasonCode.BadAuthenticationMethod, 'no authenticator knows the Authentication Method'); // [MQTT-4.12.0-1]
    const attempt = await this.failed.enter(address, exchange.username, clock, signal);
    if (typeof attempt === 'string') return refusal(ReasonCode.ConnectionRateExceeded, attempt);
    let hasFailed = false;
    try {
      const said = exchange.step(data);
      if (said.effect === 'continue') return said.data;
      const problem = said.effect === 'deny' ? said.cause : attributesProblem(said.identity.attributes);
      hasFailed = problem !== null;
      const entry = this.entries.find(({ authenticator }) => authenticator.name === exchange.authenticator);
      if (entry !== undefined) entry.tally[problem === null ? 'accepted' : 'refused']++;
      if (said.effect === 'deny' || problem !== null)
        return refusal(ReasonCode.BadUserNameOrPassword, `${exchange.authenticator}: ${problem}`);
      this.failed.succeeded(attempt);
      return { code: ReasonCode.Success, cause: '', identity: said.identity, data: said.data };
    } finally {
      this.failed.leave(attempt, hasFailed, clock());
    }
  }

  /** Asks one authenticator after the other. */
  private async ask(login: Login, signal: AbortSignal): Promise<LoginVerdict> {
    const causes: string[] = [];
    let isDenied = false;
    let isUnsure = false;
    for (const entry of this.entries) {
      const { authenticator, tally } = entry;
      try {
        const finding = await authenticator.judge(login, signal);
        if (!this.entries.includes(entry)) {
          // Whoever has taken it away does not want to find clients of it afterwards.
          causes.push(`${authenticator.name}: taken away meanwhile`);
          isUnsure = true;
          continue;
        }
        if (finding.effect === 'allow') {
          const { identity } = finding;
          const problem = attributesProblem(identity.attributes);
          if (problem !== null) {
            tally.refused++;
            causes.push(`${authenticator.name}: ${problem}`);
            isDenied = true;
            break;
          }
          if (identity.expiresAt === 0 || identity.expiresAt > Date.now()) {
            tally.accepted++;
            return { code: ReasonCode.Success, cause: '', identity };
          }
          tally.refused++;
          causes.push(`${authenticator.name}: the proof has ended`);
          isDenied = true;
          break;
        }
        tally[finding.effect === 'deny' ? 'refused' : 'ignored']++;
        causes.push(`${authenticator.name}: ${finding.cause}`);
        if (finding.effect === 'deny') {
          if (finding.code !== undefined) return refusal(finding.code, causes.join('; '));
          isDenied = true;
          break;
        }
      } catch (error) {
        if (error instanceof Gone) throw error;
        tally.failed++;
        if (error instanceof TooMany) return refusal(ReasonCode.ServerBusy, `${authenticator.name}: ${error.message}`);
        if (!(error instanceof Unasked)) this.troubled(authenticator.name, error as Error);
        causes.push(`${authenticator.name}: ${error instanceof Unasked ? error.message : 'failed'}`);
        isUnsure = true;
      }
    }
    const showsNothing = login.username === null && login.password === null;
    if (showsNothing && !isDenied && this.settings.allowAnonymous) return { code: ReasonCode.Success, cause: '', identity: ANYBODY };
    const cause = causes.join('; ');
    // A certificate is something.
    if (showsNothing && !(isUnsure && login.certificate !== null)) return refusal(ReasonCode.NotAuthorized, cause);
    // One that does not answer might have said yes: the client may come again, and has not guessed.
    return refusal(isUnsure && !isDenied ? ReasonCode.ServerUnavailable : ReasonCode.BadUserNameOrPassword, cause);
  }
}

function refusal(code: ReasonCode, cause: string): LoginVerdict {
  return { code, cause, identity: null };
}
