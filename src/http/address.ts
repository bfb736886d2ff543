/**
 * Addresses as uWebSockets.js has them: bytes.
 */

/** The IP address in `bytes` as text: 4 bytes, or 16, where an IPv4 address in IPv6 form is an IPv4 address; '' for none (a Unix socket). */
export function addressOfBytes(bytes: Uint8Array): string {
  const { length } = bytes;
  if (length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (length !== 16) return '';
  let isMapped = bytes[10] === 0xff && bytes[11] === 0xff;
  for (let i = 0; i < 10 && isMapped; i++) isMapped = bytes[i] === 0;
  if (isMapped) return `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  // The first longest run of zeros is left out (RFC 5952).
  const runs = groups.join(':').match(/\b0(?::0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return groups.join(':');
  const text = groups.join(':');
  const at = text.indexOf(longest);
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`;
}
