/**
 * Opens UDP sockets that several shards bind to one address and port. Node 20 has no option for that, so the descriptor is made by the C library's calls and
 * then given to dgram. Runs at start only.
 */
import { createSocket } from 'node:dgram';
import { type CLibrary, library } from '../../base/c-library.ts';
import { AF_INET6, encodeSocketAddress, hostOf, portOf } from './socket-address.ts';
import { UdpSocket } from './udp-socket.ts';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_MTU_DISCOVER = 23;
/** Sets the bit against fragments [RFC 9000 §14] and takes no word of routers about the path, which anybody can forge. */
const PMTUDISC_PROBE = 3;

const EADDRINUSE = 98;
const EADDRNOTAVAIL = 99;
const EACCES = 13;

/** A burst of handshakes of a fleet that comes back must fit: 2,000 Initial packets of 1,200 bytes. The kernel counts about twice that for each. */
const BUFFER_BYTES = 8 * 1024 * 1024;

/** A socket could not be opened. `code` is that of Node for the same mistake. */
export class BindError extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

export interface BindOptions {
  /** `::` takes IPv4 as well unless this is set. */
  readonly ipv6Only?: boolean;
  /** Fails when anybody else has the port: sockets that share it would otherwise share it with another broker too, without a word. For the first of a listener. */
  readonly isFirst?: boolean;
  /** Size of the kernel's buffers; it may give less (net.core.rmem_max). */
  readonly bufferBytes?: number;
}

/**
 * Opens one of the sockets of a listener. The first may ask for port 0 and the others then for the port that it got.
 * @param host IPv4 or IPv6 address as text
 * @throws BindError
 */
export async function bindQuicSocket(host: string, port: number, options: BindOptions = {}): Promise<UdpSocket> {
  const libc = process.platform === 'linux' ? library() : null;
  if (libc === null) throw new BindError('QUIC needs the C library of Linux', 'ENOTSUP');
  const address = encodeSocketAddress(host, port);
  if (address === null) throw new BindError(`${host} is not an IP address`, 'EINVAL');
  const family = address[0]!;
  if (options.isFirst === true) libc.close(openBound(libc, address, { ...options, sharesPort: false }));
  const fd = openBound(libc, address, { ...options, sharesPort: true });
  const socket = createSocket(family === AF_INET6 ? 'udp6' : 'udp4');
  // An error of the kernel about a datagram that was sent concerns one client at most; its connection times out.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ fd }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  return new UdpSocket(socket, fd);
}

interface Options extends BindOptions {
  readonly sharesPort: boolean;
}

function openBound(libc: CLibrary, address: Uint8Array, options: Options): number {
  const family = address[0]!;
  const fd = libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new BindError('no UDP socket', codeOf(libc.errno()));
  setOptions(libc, fd, family, options);
  if (libc.bind(fd, address, address.length) === 0) return fd;
  const code = codeOf(libc.errno());
  libc.close(fd);
  throw new BindError(`cannot bind UDP ${hostOf(address, 0)} port ${portOf(address, 0)}: ${code}`, code);
}

function setOptions(libc: CLibrary, fd: number, family: number, options: Options): void {
  const set = (level: number, name: number, value: number): boolean =>
    libc.setsockopt(fd, level, name, new Uint8Array(Int32Array.of(value).buffer), 4) === 0;
  if (options.sharesPort) set(SOL_SOCKET, SO_REUSEPORT, 1);
  const bytes = options.bufferBytes ?? BUFFER_BYTES;
  // Past the limit of the system, where the process may do that.
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, bytes)) set(SOL_SOCKET, SO_RCVBUF, bytes);
  if (!set(SOL_SOCKET, SO_SNDBUFFORCE, bytes)) set(SOL_SOCKET, SO_SNDBUF, bytes);
  if (family === AF_INET6) {
    set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6Only === true ? 1 : 0);
    set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
  }
  // Also for IPv4 that comes through an IPv6 socket.
  set(IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
}

function codeOf(errno: number): string {
  if (errno === EADDRINUSE) return 'EADDRINUSE';
  if (errno === EADDRNOTAVAIL) return 'EADDRNOTAVAIL';
  return errno === EACCES ? 'EACCES' : `errno ${errno}`;
}
