/**
 * A client library in a process of its own, driven by JSON lines: the same commands for Python, Go and Java.
 *
 * A process speaks one version of the protocol and holds any number of clients. Invariant: each command has exactly one answer; messages come in the order
 * in which the library handed them over.
 */
import { fileURLToPath } from 'node:url';
import { beginProgram, type ChildProgram } from '../child-program.ts';

/** What `prepare.sh` has made. */
export const preparedFolder: string = fileURLToPath(new URL('../../../clients/', import.meta.url));
/** This folder as it lies in the repository: the sources of the programs. */
export const programsFolder: string = fileURLToPath(new URL('../../../../test/clients/programs/', import.meta.url));

/** A library and the version of the protocol that it speaks. */
export interface Library {
  readonly name: string;
  readonly version: 3 | 4 | 5;
  readonly command: string;
  /** Arguments that come before port and version. */
  readonly args: readonly string[];
}

/** User Properties in order. */
export type Pairs = readonly (readonly [string, string])[];

/** What a client has received. */
export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly userProperties: Pairs | null;
  readonly correlationData?: string | null;
}

/** What the library told about a command. */
export interface Answer {
  readonly sessionPresent: boolean;
  /** Reason Code or granted QoS. */
  readonly code: number;
  readonly userProperties: Pairs | null;
}

/** The message that the broker publishes when the connection breaks. */
export interface Will {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
}

/** How a client connects. */
export interface ConnectOptions {
  readonly clientId: string;
  /** 0 or missing: a clean session. MQTT 3 knows only whether there is one. */
  readonly sessionSeconds?: number;
  readonly will?: Will;
  /** Of programs that log in by SCRAM. */
  readonly username?: string;
  readonly password?: string;
}

/** What a client publishes beside topic and payload. */
export interface PublishOptions {
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly userProperties?: Pairs;
  readonly responseTopic?: string;
  readonly correlationData?: string;
}

interface Line {
  readonly id?: number;
  readonly answer?: Answer;
  readonly error?: string;
  readonly client?: string;
  readonly message?: Received;
}

interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** One process. */
export class ClientProcess {
  readonly library: Library;
  private readonly program: ChildProgram;
  private readonly waiters: Map<number, Waiter>;
  private readonly clients: Map<string, Client>;
  private lastId: number;

  constructor(library: Library, port: number) {
    this.library = library;
    this.program = beginProgram(library.command, [...library.args, String(port), String(library.version)]);
    this.waiters = new Map();
    this.clients = new Map();
    this.lastId = 0;
    this.program.onLine((line) => this.take(JSON.parse(line) as Line));
    const fail = (error: Error): void => {
      for (const waiter of this.waiters.values()) waiter.reject(error);
    };
    this.program.ended.then(({ exit, stderr }) => fail(new Error(`${library.name} ended with ${exit}: ${stderr}`)), fail);
  }

  /** Connects a client. @throws Error with the library's own words when the broker refuses */
  async connect(options: ConnectOptions): Promise<Client> {
    const client = new Client(this, `${options.clientId}/${this.lastId}`);
    this.clients.set(client.name, client);
    client.sessionPresent = (await this.ask('connect', client.name, options)).sessionPresent;
    return client;
  }

  /** Sends a command and waits for its answer. */
  ask(verb: string, client: string, fields: object): Promise<Answer> {
    this.lastId += 1;
    const id = this.lastId;
    return new Promise((resolve, reject) => {
      this.waiters.set(id, { resolve, reject });
      this.program.tell(JSON.stringify({ id, do: verb, client, ...fields }));
    });
  }

  /** Ends the process at once: its connections break without DISCONNECT. */
  async kill(): Promise<void> {
    this.program.kill('SIGKILL');
    await this.program.ended;
  }

  private take(line: Line): void {
    if (line.message !== undefined) this.clients.get(line.client!)?.take(line.message);
    if (line.id === undefined) return;
    const waiter = this.waiters.get(line.id)!;
    this.waiters.delete(line.id);
    if (line.answer !== undefined) waiter.resolve(line.answer);
    else waiter.reject(new Error(`${this.library.name}: ${line.error}`));
  }
}

/** One connection in a process. */
export class Client {
  readonly name: string;
  sessionPresent: boolean;
  private readonly process: ClientProcess;
  private readonly received: Received[];
  private waiting: (() => void) | null;

  constructor(process: ClientProcess, name: string) {
    this.name = name;
    this.sessionPresent = false;
    this.process = process;
    this.received = [];
    this.waiting = null;
  }

  /** @returns granted QoS or Reason Code */
  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<number> {
    return (await this.process.ask('subscribe', this.name, { filter, qos })).code;
  }

  /** Publishes one message or several at once, and waits until the broker has acknowledged all. @returns the answer to the last */
  publish(topic: string, payload: string | readonly string[], options: PublishOptions): Promise<Answer> {
    return this.process.ask('publish', this.name, { topic, payloads: [payload].flat(), retain: false, ...options });
  }

  /** Proves anew who it is, where the program can. @returns Reason Code */
  async authenticate(username: string, password: string): Promise<number> {
    return (await this.process.ask('authenticate', this.name, { username, password })).code;
  }

  async disconnect(): Promise<void> {
    await this.process.ask('disconnect', this.name, {});
  }

  /** The next message. */
  async next(): Promise<Received> {
    while (this.received.length === 0) {
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    return this.received.shift()!;
  }

  /** The payloads of the next messages. */
  async payloads(count: number): Promise<string[]> {
    const result: string[] = [];
    while (result.length < count) result.push((await this.next()).payload);
    return result;
  }

  /** How many messages wait to be looked at. */
  get waitingCount(): number {
    return this.received.length;
  }

  take(message: Received): void {
    this.received.push(message);
    this.waiting?.();
  }
}
