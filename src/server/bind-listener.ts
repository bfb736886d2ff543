/**
 * Binding: every listener's socket is bound by the supervisor before any shard starts, so that what cannot be bound stops the start with one clear line. Nothing is
 * accepted before a shard listens on it.
 */
import { lookup } from 'node:dns/promises';
import { existsSync, lstatSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import type { ListenerSettings } from '../base/settings.ts';
import { canHandOff, closeDescriptor, duplicate } from '../transports/descriptor.ts';
import { placeOf } from './listener-schema.ts';
import { StartError } from './start-error.ts';
import type { BoundListener } from './wiring.ts';

/** Bytes of a path that the kernel takes, on the platform that takes fewest. */
const PATH_BYTES_MAX = 103;

/** Binds all listeners, or none. @throws StartError */
export async function bindListeners(listeners: readonly ListenerSettings[]): Promise<BoundListener[]> {
  const bound: BoundListener[] = [];
  try {
    for (const listener of listeners) bound.push(await (listener.type === 'quic' ? findQuicPort(listener) : bindListener(listener)));
  } catch (error) {
    unbindListeners(listeners, bound);
    throw error;
  }
  return bound;
}

/** Gives up what was bound, and empties the list; the files of Unix sockets go, too. */
export function unbindListeners(listeners: readonly ListenerSettings[], bound: BoundListener[]): void {
  for (const [index, { fd }] of bound.splice(0).entries()) {
    if (fd >= 0) closeDescriptor(fd);
    const { path } = listeners[index]!;
    if (path !== '') rmSync(path, { force: true });
  }
}

/** Binds one listener of a stream transport and keeps its descriptor. @throws StartError */
async function bindListener(listener: ListenerSettings): Promise<BoundListener> {
  const { host, port, path } = listener;
  // A server takes its file along when it closes, so it gets another name first.
  const bindPath = `${path}.${process.pid}`;
  if (path !== '') {
    // The kernel would cut it, and Node calls a missing folder a lack of permission.
    if (Buffer.byteLength(bindPath) > PATH_BYTES_MAX) throw new StartError(`listeners: ${path} is too long for the path of a socket`, 1);
    if (!existsSync(dirname(path))) throw new StartError(`listeners: the folder of ${path} does not exist`, 1);
    await removeStale(path);
  }
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(listener, error)));
    server.listen({ ...(path === '' ? { host, port } : { path: bindPath }), backlog: 4096 }, () => {
      const address = server.address();
      const boundPort = address !== null && typeof address === 'object' ? address.port : port;
      const fd = canHandOff() ? duplicate((server as unknown as { _handle: { fd: number } })._handle.fd) : -1;
      if (path !== '') renameSync(bindPath, path);
      // Closed before the loop polls again: this server never accepts, the duplicate keeps the port.
      server.close(() => resolve({ host, port: boundPort, fd }));
    });
  });
}

/** Finds the port of a QUIC listener, whose sockets the shards bind by themselves. @throws StartError */
async function findQuicPort(listener: ListenerSettings): Promise<BoundListener> {
  try {
    const { bindQuicSocket } = await import('../transports/quic/bind-socket.ts');
    const { address } = await lookup(listener.host);
    const socket = await bindQuicSocket(address, listener.port, { isFirst: true });
    const { port } = socket;
    socket.close();
    return { host: address, port, fd: -1 };
  } catch (error) {
    throw bindError(listener, error as NodeJS.ErrnoException);
  }
}

/** A socket in the file system outlives its process. One that nobody answers on is removed; any other file stays. */
async function removeStale(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch {
    return;
  }
  if (!isSocket) throw new StartError(`listeners: ${path} is there and is no socket; choose another path`, 1);
  const isAnswered = await new Promise<boolean>((resolve) => {
    const probe = net.connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (isAnswered) throw new StartError(`listeners: ${path} is in use by another process; stop it or choose another path`, 1);
  unlinkSync(path);
}

function bindError(listener: ListenerSettings, error: NodeJS.ErrnoException): StartError {
  const where = placeOf(listener);
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartError(`listeners: ${where} is in use by another process; stop it or choose another port`, 1);
    case 'EADDRNOTAVAIL':
      return new StartError(`listeners: ${where} is not an address of this machine`, 1);
    case 'EACCES':
      return new StartError(
        `listeners: no permission to bind ${where}; ${listener.path === '' ? 'ports below 1024 need a privilege' : 'its folder must be writable'}`,
        1,
      );
    default:
      return new StartError(`listeners: cannot bind ${where}: ${error.message}`, 1);
  }
}
