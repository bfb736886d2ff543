/**
 * Binding: every listener's socket is bound by the supervisor before any shard starts, so that what cannot be bound stops the start with one clear line. Nothing is
 * accepted before a shard listens on it.
 */

import { lookup } from 'node:dns/promises';
import { lstatSync, renameSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import type { ListenerSettings } from '../base/settings.ts';
import { canHandOff, duplicate } from '../transports/descriptor.ts';
import { bindQuicSocket } from '../transports/quic/bind-socket.ts';
import { placeOf } from './listener-schema.ts';
import { StartError } from './start-error.ts';
import type { BoundListener } from './wiring.ts';

/** Binds one listener of a stream transport and keeps its descriptor. @throws StartError */
export async function bindListener(listener: ListenerSettings): Promise<BoundListener> {
  const { host, port, path } = listener;
  if (path !== '') await removeStale(path);
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(listener, error)));
    // A server takes its file along when it closes, so it gets another name first.
    const bindPath = `${path}.${process.pid}`;
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
export async function findQuicPort(listener: ListenerSettings): Promise<BoundListener> {
  try {
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
    case 'ENOENT':
      return new StartError(`listeners: the folder of ${where} does not exist`, 1);
    default:
      return new StartError(`listeners: cannot bind ${where}: ${error.message}`, 1);
  }
}
