/**
 * Who uses the console: credentials as they are sent, and what the broker says about their owner. They are kept for this tab only, and never in an address.
 */
import { type Signal, signal } from '@preact/signals';

/** From the least to the most, as in the broker. */
export const ROLES = ['service', 'viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface Me {
  readonly name: string;
  readonly role: Role;
  readonly clientId: string;
  readonly node: string;
  readonly version: string;
}

const PLACE = 'onehop-authorization';

/** Value of the header Authorization; null: nobody is logged in. */
export const authorization: Signal<string | null> = signal(sessionStorage.getItem(PLACE));
/** Null until the broker has said it. */
export const me: Signal<Me | null> = signal(null);
/** Why somebody has to log in again. */
export const farewell: Signal<string> = signal('');

export function keepLogin(value: string, owner: Me): void {
  sessionStorage.setItem(PLACE, value);
  me.value = owner;
  farewell.value = '';
  authorization.value = value;
}

/** @param why for the login page; '' when it was wished */
export function logOut(why: string = ''): void {
  sessionStorage.removeItem(PLACE);
  farewell.value = why;
  me.value = null;
  authorization.value = null;
}

/** Whether the user may do what needs `needed`. The broker asks the same; this only hides what would be refused. */
export function mayAs(needed: Role): boolean {
  const { value } = me;
  return value !== null && ROLES.indexOf(value.role) >= ROLES.indexOf(needed);
}

/** The header for a name and a password. */
export function basic(username: string, password: string): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}
