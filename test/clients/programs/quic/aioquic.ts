/*
 * One QUIC connection of aioquic in a child process, which is told what to do and tells what it sees.
 */
import { join } from 'node:path';
import { beginProgram, type ChildProgram } from '../../child-program.ts';
import { preparedFolder, programsFolder } from '../client-process.ts';

export interface QuicEvent {
  readonly event: string;
  readonly stream?: number;
  readonly hex?: string;
  readonly end?: boolean;
  readonly code?: number;
  readonly alpn?: string;
  readonly early?: boolean;
  readonly resumed?: boolean;
}

/** One connection of aioquic. */
export class Aioquic {
  readonly received: Map<number, Buffer>;
  readonly events: QuicEvent[];
  private readonly program: ChildProgram;
  private readonly waiters: Set<() => void>;
  private failure: Error | null;

  /** @param authority file of the authority that has signed the server's certificate */
  constructor(port: number, authority: string, protocol = 'mqtt') {
    this.received = new Map();
    this.events = [];
    this.waiters = new Set();
    this.failure = null;
    const python = join(preparedFolder, 'python/bin/python');
    this.program = beginProgram(python, [join(programsFolder, 'python/quic.py'), String(port), protocol, authority]);
    this.program.onLine((line) => this.take(JSON.parse(line) as QuicEvent));
    const fail = (error: Error): void => {
      this.failure = error;
      for (const look of this.waiters) look();
    };
    this.program.ended.then(({ exit, stderr }) => fail(new Error(`aioquic ended with ${exit}: ${stderr}`)), fail);
  }

  tell(verb: string, fields: object = {}): void {
    this.program.tell(JSON.stringify({ do: verb, ...fields }));
  }

  write(stream: number, bytes: Buffer | string, end = false): void {
    this.tell('write', { stream, hex: Buffer.from(bytes).toString('hex'), end });
  }

  text(stream: number): string {
    return this.received.get(stream)?.toString() ?? '';
  }

  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.failure === null && !isTrue()) return;
        this.waiters.delete(look);
        if (this.failure === null) resolve();
        else reject(this.failure);
      };
      this.waiters.add(look);
      look();
    });
  }

  async event(name: string, stream?: number): Promise<QuicEvent> {
    const find = (): QuicEvent | undefined =>
      this.events.find((seen) => seen.event === name && (stream === undefined || seen.stream === stream));
    await this.until(() => find() !== undefined);
    return find()!;
  }

  async end(): Promise<void> {
    this.program.kill('SIGKILL');
    await this.program.ended;
  }

  private take(event: QuicEvent): void {
    this.events.push(event);
    if (event.event === 'data') {
      const before = this.received.get(event.stream!) ?? Buffer.alloc(0);
      this.received.set(event.stream!, Buffer.concat([before, Buffer.from(event.hex!, 'hex')]));
    }
    for (const look of this.waiters) look();
  }
}
