/*
 * PROXY protocol headers as balancers send them, for tests.
 */

export interface V2Options {
  /** 1: PROXY, 0: LOCAL. */
  readonly command?: number;
  /** 0x11: TCP over IPv4, 0x21: over IPv6, 0x31: Unix. */
  readonly family?: number;
  /** Additional fields. */
  readonly fields?: Uint8Array;
}

export function v1(address: string, port: number): Buffer {
  const family = address.includes(':') ? 'TCP6' : 'TCP4';
  return Buffer.from(`PROXY ${family} ${address} ${family === 'TCP6' ? '::1' : '127.0.0.1'} ${port} 1883\r\n`);
}

/** @param addresses source and destination, 4 or 16 bytes each */
export function v2(addresses: readonly number[], port: number, options: V2Options = {}): Buffer {
  const { command = 1, family = addresses.length === 8 ? 0x11 : 0x21, fields = new Uint8Array(0) } = options;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(port, 0);
  ports.writeUInt16BE(1883, 2);
  const body = Buffer.concat([Uint8Array.from(addresses), ports, fields]);
  const head = Buffer.from('0d0a0d0a000d0a515549540a00000000', 'hex');
  head[12] = 0x20 | command;
  head[13] = family;
  head.writeUInt16BE(body.length, 14);
  return Buffer.concat([head, body]);
}

/** A field: type, length, value. */
export function field(type: number, value: Uint8Array): Buffer {
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}
