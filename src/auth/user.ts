/**
 * User: what the broker knows of somebody who logs in by name and password.
 */
export interface User {
  readonly username: string;
  /** Argon2id in PHC string format. */
  readonly password: string;
  /** What is known of the user, for the rules about what it may do. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly isSuperuser: boolean;
  readonly remark: string;
}
