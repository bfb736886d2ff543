/**
 * User: what the broker knows of somebody who logs in by name and password.
 */
import type { ScramVerifier } from './scram.ts';

export interface User {
  readonly username: string;
  /** Argon2id in PHC string format. */
  readonly password: string;
  /** For logins by SCRAM-SHA-256; missing: there are none. */
  readonly scramSha256?: ScramVerifier | undefined;
  /** What is known of the user, for the rules about what it may do. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly isSuperuser: boolean;
  readonly remark: string;
}
