/**
 * The PROXY protocol's header, versions 1 and 2, as load balancers put it before what the client sends
 * (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
 *
 *   v1: `PROXY TCP4 client server port port\r\n`, at most 107 bytes        v2: 12 bytes signature · version, command · family · length · addresses
 *
 * Bytes are asked for in steps that never reach past the header: what follows it must stay in the socket, because whoever takes the socket next reads it there.
 */
import { isIP } from 'node:net';
import { plainAddress } from '../base/network.ts';

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1_BYTES_MAX = 107;
const V2_HEAD_BYTES = 16;
/** Addresses and what a balancer may add to them. */
const V2_BODY_BYTES_MAX = 4096;

/** What a header says of the client. */
export interface ProxiedAddress {
  /** '' when the header names nobody: a health check of the balancer itself. */
  readonly address: string;
  readonly port: number;
}

const NOBODY: ProxiedAddress = { address: '', port: 0 };

export class ProxyHeaderReader {
  private readonly versions: 'v1' | 'v2' | 'any';
  private bytes: Buffer;
  /** Bytes that may be read next. */
  wanted: number;

  constructor(versions: 'v1' | 'v2' | 'any') {
    this.versions = versions;
    this.bytes = Buffer.alloc(0);
    this.wanted = SIGNATURE.length;
  }

  /** Takes up to `wanted` bytes. @returns the address, null when more is needed, 'malformed' when this is no header that the listener takes */
  take(bytes: Uint8Array): ProxiedAddress | null | 'malformed' {
    this.bytes = Buffer.concat([this.bytes, bytes]);
    const { length } = this.bytes;
    if (this.bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE.subarray(0, length))) {
      if (this.versions === 'v1') return 'malformed';
      if (length < V2_HEAD_BYTES) return this.want(V2_HEAD_BYTES - length);
      const bodyLength = this.bytes.readUInt16BE(14);
      if (bodyLength > V2_BODY_BYTES_MAX) return 'malformed';
      return length < V2_HEAD_BYTES + bodyLength ? this.want(V2_HEAD_BYTES + bodyLength - length) : readV2(this.bytes);
    }
    if (this.versions === 'v2' || length > V1_BYTES_MAX || !isStartOfV1(this.bytes)) return 'malformed';
    if (length < SIGNATURE.length) return this.want(SIGNATURE.length - length);
    const end = this.bytes.indexOf('\r\n');
    if (end >= 0) return readV1(this.bytes.toString('latin1', 0, end));
    return this.want(this.bytes[length - 1] === 0x0d ? 1 : 2);
  }

  private want(count: number): null {
    this.wanted = count;
    return null;
  }
}

function isStartOfV1(bytes: Buffer): boolean {
  const start = 'PROXY ';
  return bytes.toString('latin1', 0, start.length) === start.slice(0, bytes.length);
}

function readV1(line: string): ProxiedAddress | 'malformed' {
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = '', ...more] = line.split(' ');
  if (family === 'UNKNOWN') return NOBODY;
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : 0;
  const isRight = version !== 0 && more.length === 0 && isIP(source) === version && isIP(destination) === version;
  if (!isRight || !isPort(sourcePort) || !isPort(destinationPort)) return 'malformed';
  return { address: plainAddress(source), port: Number(sourcePort) };
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

function readV2(bytes: Buffer): ProxiedAddress | 'malformed' {
  const version = bytes[12]! >> 4;
  const command = bytes[12]! & 0x0f;
  const family = bytes[13]!;
  const body = bytes.subarray(V2_HEAD_BYTES);
  if (version !== 2 || command > 1) return 'malformed';
  if (command === 0) return NOBODY;
  // TCP over IPv4 or IPv6; a Unix socket of the balancer has no address that means anything here.
  if (family === 0x11 && body.length >= 12) return { address: body.subarray(0, 4).join('.'), port: body.readUInt16BE(8) };
  if (family === 0x21 && body.length >= 36) return { address: ipv6Of(body), port: body.readUInt16BE(32) };
  return family === 0x31 || family === 0x00 ? NOBODY : 'malformed';
}

/** The short form, as Node writes the addresses of sockets. */
function ipv6Of(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16));
  const short = new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
  return short.startsWith('::ffff:') ? bytes.subarray(12, 16).join('.') : short;
}
