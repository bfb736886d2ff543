/**
 * Networks as people write them: one address, or `address/bits`.
 */
import { type BlockList, isIPv4 } from 'node:net';

/** Adds a network to a list. @throws when it is none */
export function addNetwork(list: BlockList, network: string): void {
  const family = network.includes(':') ? 'ipv6' : 'ipv4';
  const slash = network.indexOf('/');
  if (slash < 0) {
    list.addAddress(network, family);
    return;
  }
  const bits = network.slice(slash + 1);
  if (!/^\d{1,3}$/.test(bits)) throw new Error('a network has a number of bits');
  list.addSubnet(network.slice(0, slash), Number(bits), family);
}

/** `address:port`, an IPv6 address in brackets. */
export function addressName(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** An IPv4 client of a socket that takes both families comes as `::ffff:1.2.3.4`: it is called `1.2.3.4`, as everywhere else. */
export function plainAddress(address: string): string {
  const inner = address.slice(address.lastIndexOf(':') + 1);
  return address.toLowerCase().startsWith('::ffff:') && isIPv4(inner) ? inner : address;
}
