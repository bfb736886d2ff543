/**
 * StorePin: a moment of a store that its broker holds for another process, so that this one may read the file while the broker goes on writing.
 *
 *   other process ── connects to onehop.sock in the store's directory ──▶ broker's store thread: holds the newest moment, answers with its roots
 *                 ── reads data.mdb … closes the connection ───────────▶ released; also when that process dies
 *
 * Only the holding is asked for; no byte of the store passes through here. Where the system has no such sockets nothing is held, and who reads a store that is
 * written to is told so.
 */
import { createHash } from 'node:crypto';
import { realpathSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { HeldMoment, LogStore } from './log-store.ts';
import type { Moment } from './page-file.ts';

/** Systems cut longer names of sockets off. */
const NAME_BYTES_MAX = 100;
/** Processes that may hold moments at one time. */
const PINS_MAX = 16;
const ANSWER_BYTES_MAX = 4096;
const ANSWER_MILLISECONDS = 5000;

/** Where the broker of a store listens. */
function socketName(directory: string): string {
  const name = join(resolve(directory), 'onehop.sock');
  if (process.platform !== 'win32' && Buffer.byteLength(name) <= NAME_BYTES_MAX) return name;
  const hash = createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 32);
  return process.platform === 'win32' ? `\\\\.\\pipe\\onehop-${hash}` : join(tmpdir(), `onehop-${hash}.sock`);
}

/** The broker's end. */
export class PinServer {
  private readonly server: Server;
  private readonly name: string;
  private readonly sockets: Set<Socket>;

  /** The caller holds the lock of the store. */
  constructor(store: LogStore) {
    this.sockets = new Set();
    this.server = createServer((socket) => this.hold(store, socket));
    this.server.maxConnections = PINS_MAX;
    // Without sockets there is a broker all the same.
    this.server.on('error', () => undefined);
    this.name = socketName(store.path);
    // What a broker that was killed has left.
    this.removeName();
    this.server.listen(this.name);
    this.server.unref();
  }

  private removeName(): void {
    if (process.platform !== 'win32') rmSync(this.name, { force: true });
  }

  private hold(store: LogStore, socket: Socket): void {
    socket.on('error', () => undefined);
    let held: HeldMoment;
    try {
      held = store.hold(() => socket.destroy());
    } catch {
      // The store is being opened anew, or its disk does not give a page.
      socket.destroy();
      return;
    }
    const { moment, release } = held;
    this.sockets.add(socket);
    socket.on('close', () => {
      this.sockets.delete(socket);
      release();
    });
    socket.resume();
    socket.write(`${JSON.stringify(moment)}\n`);
  }

  close(): void {
    this.server.close();
    this.removeName();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** A moment that a broker holds for this process. */
export interface Pin {
  readonly moment: Moment;
  /** False: the broker has ended, or can hold it no longer. */
  readonly isHeld: boolean;
  release(): void;
}

/** Has the broker of a store hold its newest moment; null: there is none, or it does not answer. */
export function requestPin(directory: string): Promise<Pin | null> {
  return new Promise((resolvePin) => {
    const socket = createConnection(socketName(directory));
    let isHeld = false;
    let text = '';
    const late = setTimeout(() => socket.destroy(), ANSWER_MILLISECONDS);
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      if (isHeld) return;
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length < ANSWER_BYTES_MAX) return;
      const moment = readMoment(text.slice(0, end));
      if (moment === null) {
        socket.destroy();
        return;
      }
      clearTimeout(late);
      isHeld = true;
      resolvePin({
        moment,
        get isHeld() {
          return isHeld;
        },
        release: () => socket.destroy(),
      });
    });
    socket.on('error', () => undefined);
    const end = (): void => {
      clearTimeout(late);
      isHeld = false;
      resolvePin(null);
    };
    socket.on('end', end);
    socket.on('close', end);
  });
}

function readMoment(text: string): Moment | null {
  try {
    const moment = JSON.parse(text) as Moment;
    return Number.isSafeInteger(moment.transaction) && Number.isSafeInteger(moment.lastPage) ? moment : null;
  } catch {
    return null;
  }
}
