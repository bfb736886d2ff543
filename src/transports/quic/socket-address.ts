/**
 * Addresses of IP sockets: text, and the `struct sockaddr` of Linux that the kernel reads and writes.
 *
 *   IPv4: | family u16 | port u16 big endian | address 4 | 8 of nothing |
 *   IPv6: | family u16 | port u16 big endian | flow u32 | address 16 | scope u32 |
 *
 * Text has no zone: quiche would ask the resolver for it. The scope of a link-local peer is kept in the bytes.
 */

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Room for either kind. */
export const SOCKET_ADDRESS_BYTES = 28;
const IPV4_BYTES = 16;

/**
 * Encodes an address for the kernel.
 * @param host IPv4 or IPv6 as text, perhaps with a numeric zone
 * @returns null when it is neither
 */
export function encodeSocketAddress(host: string, port: number): Uint8Array | null {
  const bytes = new Uint8Array(SOCKET_ADDRESS_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, port);
  if (!host.includes(':')) {
    const parts = host.split('.');
    if (parts.length !== 4 || !writeIpv4(bytes, 4, parts)) return null;
    view.setUint16(0, AF_INET, true);
    return bytes.subarray(0, IPV4_BYTES);
  }
  const [address, zone] = host.split('%');
  const groups = ipv6Groups(address!);
  if (groups === null) return null;
  view.setUint16(0, AF_INET6, true);
  for (let i = 0; i < 8; i++) view.setUint16(8 + i * 2, groups[i]!);
  view.setUint32(24, Number(zone ?? 0) || 0, true);
  return bytes;
}

/** Address of a `struct sockaddr` as text, in the form of RFC 5952. */
export function hostOf(bytes: Uint8Array, at: number): string {
  if (bytes[at] === AF_INET) return `${bytes[at + 4]}.${bytes[at + 5]}.${bytes[at + 6]}.${bytes[at + 7]}`;
  const groups: number[] = [];
  for (let i = at + 8; i < at + 24; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `::ffff:${bytes[at + 20]}.${bytes[at + 21]}.${bytes[at + 22]}.${bytes[at + 23]}`;
  }
  const gap = longestZeros(groups);
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  return gap.length < 2 ? text(groups) : `${text(groups.slice(0, gap.at))}::${text(groups.slice(gap.at + gap.length))}`;
}

export function portOf(bytes: Uint8Array, at: number): number {
  return (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Bytes of the `struct sockaddr` that begins at `at`. */
export function lengthOf(bytes: Uint8Array, at: number): number {
  return bytes[at] === AF_INET ? IPV4_BYTES : SOCKET_ADDRESS_BYTES;
}

function writeIpv4(bytes: Uint8Array, at: number, parts: string[]): boolean {
  for (let i = 0; i < 4; i++) {
    if (!/^\d{1,3}$/.test(parts[i]!) || Number(parts[i]) > 255) return false;
    bytes[at + i] = Number(parts[i]);
  }
  return true;
}

function ipv6Groups(text: string): number[] | null {
  let address = text;
  const last = address.slice(address.lastIndexOf(':') + 1);
  if (last.includes('.')) {
    const bytes = new Uint8Array(4);
    const parts = last.split('.');
    if (parts.length !== 4 || !writeIpv4(bytes, 0, parts)) return null;
    const tail = `${((bytes[0]! << 8) | bytes[1]!).toString(16)}:${((bytes[2]! << 8) | bytes[3]!).toString(16)}`;
    address = `${address.slice(0, address.length - last.length)}${tail}`;
  }
  const halves = address.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const given = halves[0]!.length + (halves[1]?.length ?? 0);
  if (halves.length > 2 || (halves.length === 2 ? given > 7 : given !== 8)) return null;
  const groups = halves.length === 1 ? halves[0]! : [...halves[0]!, ...new Array<string>(8 - given).fill('0'), ...halves[1]!];
  return groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) ? groups.map((group) => Number.parseInt(group, 16)) : null;
}

function longestZeros(groups: number[]): { at: number; length: number } {
  const best = { at: 0, length: 0 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) Object.assign(best, { at, length });
  }
  return best;
}
