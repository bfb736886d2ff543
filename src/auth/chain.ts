/**
 * Chain: all authenticators of the configuration, in its order.
 *
 *   too many failures? ──▶ refused at once
 *   first authenticator ─ allow, deny ──▶ decided
 *     └ ignore ─▶ the next … ─▶ nothing was shown and anonymous clients are allowed ─▶ let in
 *                              else ─▶ refused
 *
 * A refusal says the same whatever was wrong: who guesses learns nothing of which names there are.
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import { ANYBODY, type Login, type LoginVerdict } from '../shard/login.ts';
import { type Authenticator, Busy } from './authenticator.ts';
import type { FailedLogins } from './failed-logins.ts';

export interface ChainSettings {
  readonly allowAnonymous: boolean;
}

export class Chain {
  private readonly authenticators: readonly Authenticator[];
  private readonly settings: ChainSettings;
  private readonly failed: FailedLogins;
  /** Told of an authenticator that cannot do its work. */
  private readonly troubled: (authenticator: string, error: Error) => void;

  constructor(
    authenticators: readonly Authenticator[],
    settings: ChainSettings,
    failed: FailedLogins,
    troubled: (authenticator: string, error: Error) => void,
  ) {
    this.authenticators = authenticators;
    this.settings = settings;
    this.failed = failed;
    this.troubled = troubled;
  }

  /**
   * Judges one login.
   * @param now milliseconds on a clock that does not go back
   * @returns the verdict: 0x86 for a wrong proof, 0x87 where none was shown, 0x89 when too much waits, 0x9F after too many failures (section 3.2.2.2)
   */
  async judge(login: Login, now: number): Promise<LoginVerdict> {
    const { address, username } = login;
    const blocked = this.failed.blocks(address, username, now);
    if (blocked !== null) return refusal(ReasonCode.ConnectionRateExceeded, blocked);
    const causes: string[] = [];
    let isDenied = false;
    for (const authenticator of this.authenticators) {
      try {
        const finding = await authenticator.judge(login);
        if (finding.effect === 'allow') {
          this.failed.succeeded(address, username);
          return { code: ReasonCode.Success, cause: '', identity: finding.identity };
        }
        causes.push(`${authenticator.name}: ${finding.cause}`);
        if (finding.effect === 'deny') {
          isDenied = true;
          break;
        }
      } catch (error) {
        if (error instanceof Busy) return refusal(ReasonCode.ServerBusy, `${authenticator.name}: ${error.message}`);
        this.troubled(authenticator.name, error as Error);
        causes.push(`${authenticator.name}: failed`);
      }
    }
    const showsNothing = username === null && login.password === null;
    if (showsNothing && !isDenied && this.settings.allowAnonymous) return { code: ReasonCode.Success, cause: '', identity: ANYBODY };
    const cause = causes.join('; ');
    // Who shows nothing guesses nothing.
    if (showsNothing) return refusal(ReasonCode.NotAuthorized, cause);
    this.failed.failed(address, username, now);
    return refusal(ReasonCode.BadUserNameOrPassword, cause);
  }
}

function refusal(code: ReasonCode, cause: string): LoginVerdict {
  return { code, cause, identity: null };
}
