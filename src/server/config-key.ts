/**
 * How a key of the configuration is declared: its kind of value, its default and its meaning, in one call. What the manual and the overrides need is kept beside
 * the schema.
 */
import { z } from 'zod';
import { type KeyFacts, type Kind, show } from './config-value.ts';

/**
 * Schema of one key.
 * @param standard its default, as a person writes it; @param value the default itself, where the text is not it
 */
export function key<T>(
  kind: Kind<T>,
  standard: string | number | boolean,
  meaning: string,
  value: unknown = standard,
): z.ZodType<T, unknown> {
  const facts: KeyFacts = { type: kind.type, default: String(standard), text: meaning, verbatim: kind.verbatim, input: kind.input };
  return kind.schema.prefault(value).register(z.globalRegistry, { ...facts });
}

/** A key whose absence means something of its own. */
export function optionalKey<T>(kind: Kind<T>, standard: string, meaning: string): z.ZodType<T | undefined, unknown> {
  const facts: KeyFacts = { type: kind.type, default: standard, text: meaning, verbatim: kind.verbatim, input: kind.input };
  return kind.schema.optional().register(z.globalRegistry, { ...facts });
}

export function section<T extends z.core.$ZodLooseShape>(shape: T): z.ZodPrefault<z.ZodObject<T, z.core.$strict>> {
  const error = (issue: { code?: string; input?: unknown }): string | undefined =>
    issue.code === 'invalid_type' ? `expected keys with values, such as ${Object.keys(shape)[0]}, not ${show(issue.input)}` : undefined;
  return z.strictObject(shape, { error }).prefault({} as never);
}
