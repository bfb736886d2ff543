/**
 * PEM: blocks of Base64 between lines that name them.
 */

/** The blocks of one kind, each with its lines. */
export function blocksOf(pem: string, kind: string): string[] {
  return pem.match(new RegExp(`-----BEGIN ${kind}-----[\\s\\S]*?-----END ${kind}-----`, 'g')) ?? [];
}
