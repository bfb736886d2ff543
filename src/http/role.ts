/**
 * Roles: what somebody may do beside publishing and subscribing. Each may do all that those before it may.
 */

/** `service`: messages only, as the statements say. `viewer`: sees everything but secrets. `operator`: changes what runs. `admin`: changes who may do what. */
export const ROLES = ['service', 'viewer', 'operator', 'admin'] as const;

export type Role = (typeof ROLES)[number];

/** Whether `role` may do what needs `needed`. */
export function mayAs(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

export function isRole(text: string): text is Role {
  return (ROLES as readonly string[]).includes(text);
}
