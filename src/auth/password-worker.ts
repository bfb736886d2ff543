/**
 * What a thread of `PasswordPool` does: one hash at a time, on this thread itself. The functions of the library that return promises would take threads of libuv,
 * which the store's commits need.
 */
import { hashSync, verifySync } from '@node-rs/argon2';
import { PASSWORD_COST } from './password-hash.ts';

export type PasswordTask =
  | { readonly kind: 'verify'; readonly hash: string; readonly password: Uint8Array }
  | { readonly kind: 'hash'; readonly password: Uint8Array };

/** @returns of `verify` whether the password is right, of `hash` the PHC string */
export function runPasswordTask(task: PasswordTask): boolean | string {
  if (task.kind === 'hash') return hashSync(task.password, PASSWORD_COST);
  return verifySync(task.hash, task.password);
}
