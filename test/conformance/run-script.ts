/**
 * Runs one conformance script against a broker: opens its connections, sends its bytes, compares what comes back.
 *
 * A step is a line of text, `c` being a connection name:
 *   c > BYTES             sends; a connection that is not open is opened first
 *   c < PATTERN           the next packet must fit
 *   c open                opens a connection without sending
 *   c drop                destroys the connection from our side, without DISCONNECT
 *   c closed              the broker closes, and sends nothing before
 *   c closed 81           the broker sends DISCONNECT with Reason Code 81, then closes (MQTT 5.0)
 *   c refused 85          the broker sends CONNACK with this code and Session Present 0, then closes
 *   c rejected            the broker closes, or sends a CONNACK that refuses in any form and code, then closes
 *   c rejected-filter 0001  the broker closes, or answers SUBSCRIBE 0001 of one filter by return code 80 (MQTT 3.1 and 3.1.1)
 *   c scram user pencil   begins a login by SCRAM-SHA-256: $first is its first message
 *   c proves              answers what was captured as <challenge>: $proof is the last message, $signature what the broker must show then
 *   c quiet               nothing is under way: PINGREQ is answered by PINGRESP as the very next packet
 * or an object: `{ "unordered": [expectations] }` for packets whose order the standard leaves open;
 * `{ "seek": "c < PATTERN", "never": "PATTERN" }`, which skips packets up to the first that fits and fails on one that must not come;
 * `{ "shared": PATTERN, "times": 4, "among": ["a", "b"], "until": PATTERN }` for messages of which each goes to one of several connections.
 * Nothing here sleeps: every wait ends by bytes, by a close, or by the deadline that fails the step. At the end no unread packet may be left.
 */

import type { Duplex } from 'node:stream';
import { hash32 } from '../../src/base/hash.ts';
import { shardOfSlot, slotOf } from '../../src/routing/slot.ts';
import { type DialPlace, dial } from '../support/dial.ts';
import { ScramClient } from '../support/scram-client.ts';
import {
  type Captures,
  encodeNotation,
  matchNotation,
  type Notation,
  type PacketTemplates,
  parseNotation,
  showNotation,
} from './notation.ts';
import type { Protocol, Script, SharedStep, Step } from './scripts.ts';

/** Where and how a script runs. */
export interface RunOptions {
  readonly place: DialPlace;
  /** Shard count of the broker, for the placement of clients. */
  readonly shards: number;
  /** All clients of the script on one shard, or each on the next one. */
  readonly placement: 'together' | 'spread';
  /** Letters and digits that no other run against this broker uses. */
  readonly unique: string;
  /** Packet templates of the protocol. */
  readonly templates: PacketTemplates;
  /** Whether a bare close passes where the standard allows a Reason Code before it; our own broker always sends the code. */
  readonly bareCloses: boolean;
  /** How long one expectation may wait. */
  readonly deadlineMilliseconds: number;
}

/** What the broker did: a whole packet, the close, or nothing before the deadline. */
type Arrival = Uint8Array | 'closed' | 'nothing';

const PING = { request: Uint8Array.of(0xc0, 0), response: Uint8Array.of(0xd0, 0) };
const CONNACK_TYPE = 2;
const DISCONNECT_TYPE = 14;

const PACKET_NAMES = [
  'reserved',
  'CONNECT',
  'CONNACK',
  'PUBLISH',
  'PUBACK',
  'PUBREC',
  'PUBREL',
  'PUBCOMP',
  'SUBSCRIBE',
  'SUBACK',
  'UNSUBSCRIBE',
  'UNSUBACK',
  'PINGREQ',
  'PINGRESP',
  'DISCONNECT',
  'AUTH',
] as const;

/** Longest transcript shown with a failure, in lines. */
const TRANSCRIPT_LINES = 16;

/** Bytes of one packet shown with a failure. */
const SHOWN_BYTES = 96;

/** How much later than Keep Alive asks for a script may come to its end on a machine that has time for it. */
const LATE_MILLISECONDS = 1000;

export interface Failure {
  /** The failed step: statement, step, expected and received bytes. */
  readonly report: string;
  /** The machine had no time for a script that counts on Keep Alive as its clock: what came when says nothing. False when something did not come at all. */
  readonly wasLate: boolean;
}

/**
 * Runs the script.
 * @returns undefined when the broker passed
 */
export async function runScript(script: Script, options: RunOptions): Promise<Failure | undefined> {
  const run = new ScriptRun(script, options);
  let index = 0;
  try {
    for (; index < script.steps.length; index++) {
      await run.step(script.steps[index]!);
    }
    run.nothingLeft();
    return undefined;
  } catch (error) {
    const step = script.steps[index];
    const report = [
      `${script.file} · ${script.name} · ${script.statements.join(' ')} (${script.protocol})`,
      `  step ${index + 1} of ${script.steps.length}: ${step === undefined ? 'end of script' : typeof step === 'string' ? step : JSON.stringify(step)}`,
      `  ${error instanceof Error ? error.message : String(error)}`,
      ...run.transcript.slice(-TRANSCRIPT_LINES).map((line) => `    ${line}`),
    ].join('\n');
    return { report, wasLate: run.wasLate };
  } finally {
    run.close();
  }
}

/** Names a packet for people: type, flags where they matter, packet identifier and code where they are easy to find. */
export function describePacket(packet: Uint8Array, protocol: Protocol): string {
  const first = packet[0] ?? 0;
  const type = first >> 4;
  const name = PACKET_NAMES[type]!;
  const hex =
    Buffer.from(packet.subarray(0, SHOWN_BYTES)).toString('hex') + (packet.length > SHOWN_BYTES ? `… (${packet.length} bytes)` : '');
  if (name === 'PUBLISH') {
    const lengthEnd = 1 + packet.subarray(1).findIndex((byte) => byte < 0x80) + 1;
    const topicEnd = lengthEnd + 2 + (packet[lengthEnd]! << 8) + packet[lengthEnd + 1]!;
    const topic = Buffer.from(packet.subarray(lengthEnd + 2, topicEnd)).toString();
    return `PUBLISH qos ${(first >> 1) & 3}${first & 8 ? ' DUP' : ''}${first & 1 ? ' RETAIN' : ''} '${topic}' ${hex}`;
  }
  if (type === CONNACK_TYPE) {
    return `CONNACK code ${hexOf(packet[3])}${packet[2] === 1 ? ' session present' : ''} ${hex}`;
  }
  if (type === DISCONNECT_TYPE && protocol === '5.0') {
    return `DISCONNECT code ${hexOf(packet[2] ?? 0)} ${hex}`;
  }
  return `${name} ${hex}`;
}

function hexOf(byte: number | undefined): string {
  return byte === undefined ? 'none' : byte.toString(16).padStart(2, '0');
}

/** One connection: cuts what arrives into packets and hands them out one by one. */
class Connection {
  private readonly socket: Duplex;
  private bytes: Buffer = Buffer.alloc(0);
  private readonly packets: Uint8Array[] = [];
  private closed = false;
  private wake: () => void = () => {};

  constructor(place: DialPlace) {
    this.socket = dial(place);
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.cut();
      this.wake();
    });
    this.socket.on('error', () => {});
    // The end is enough: a WebSocket stream closes only when this side has ended, too.
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.closed = true;
        this.wake();
      });
    }
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  destroy(): void {
    this.socket.destroy();
  }

  get unread(): readonly Uint8Array[] {
    return this.packets;
  }

  /** Resolves with the next packet, or the close, or 'nothing' when the deadline passes. */
  async next(deadlineMilliseconds: number): Promise<Arrival> {
    if (this.packets.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadlineMilliseconds);
        this.wake = () => {
          if (this.packets.length > 0 || this.closed) {
            clearTimeout(timer);
            resolve();
          }
        };
      });
    }
    const packet = this.packets.shift();
    if (packet !== undefined) {
      return packet;
    }
    return this.closed ? 'closed' : 'nothing';
  }

  private cut(): void {
    for (;;) {
      let length = 0;
      let scale = 1;
      let at = 1;
      do {
        if (at >= this.bytes.length) {
          return;
        }
        length += (this.bytes[at]! & 0x7f) * scale;
        scale *= 128;
      } while (this.bytes[at++]! >= 0x80);
      if (this.bytes.length < at + length) {
        return;
      }
      this.packets.push(Uint8Array.from(this.bytes.subarray(0, at + length)));
      this.bytes = this.bytes.subarray(at + length);
    }
  }
}

class ScriptRun {
  readonly transcript: string[] = [];
  private readonly script: Script;
  private readonly options: RunOptions;
  private readonly connections = new Map<string, Connection>();
  private readonly clientIds = new Map<string, string>();
  private readonly captures: Captures = new Map();
  private readonly begunAt = performance.now();
  /** Milliseconds until the broker closes those that are silent, by name. */
  private readonly silences = new Map<string, number>();
  /** Milliseconds that the script has waited on purpose. */
  private waited = 0;
  private missed = false;
  private scram: ScramClient | undefined;

  constructor(script: Script, options: RunOptions) {
    this.script = script;
    this.options = options;
  }

  get wasLate(): boolean {
    return this.silences.size > 0 && !this.missed && performance.now() - this.begunAt - this.waited > LATE_MILLISECONDS;
  }

  async step(step: Step): Promise<void> {
    if (typeof step !== 'string') {
      if ('unordered' in step) {
        await this.unordered(step.unordered);
      } else if ('shared' in step) {
        await this.shared(step);
      } else {
        await this.seek(step.seek, step.never);
      }
      return;
    }
    const parts = /^(\w+) (>|<|open|drop|closed|refused|rejected-filter|rejected|scram|proves|quiet)(?: (.*))?$/s.exec(step);
    if (parts === null) {
      throw new Error('not a step');
    }
    const [, name, verb, rest = ''] = parts as unknown as [string, string, string, string?];
    switch (verb) {
      case '>':
        this.noteKeepAlive(name, rest);
        this.send(name, encodeNotation(this.parse(rest), this.captures));
        return;
      case '<':
        await this.expect(name, this.parse(rest));
        return;
      case 'open':
        this.open(name);
        return;
      case 'drop':
        this.connection(name).destroy();
        this.note(name, '× dropped by the script');
        return;
      case 'closed':
        this.waited += this.silences.get(name) ?? 0;
        await this.expectClose(name, rest === '' ? undefined : this.parse(`e0 [ ${rest} ( [~ ] | ) ]`));
        return;
      case 'scram': {
        const [username, password] = rest.split(' ') as [string, string];
        this.scram = new ScramClient(username, password);
        this.captures.set('first', this.scram.first());
        return;
      }
      case 'proves':
        this.captures.set('proof', this.scram!.answer(this.captures.get('challenge')!));
        this.captures.set('signature', this.scram!.signature);
        return;
      case 'rejected':
        await this.expectRejection(name);
        return;
      case 'rejected-filter':
        await this.expectFilterRejection(name, rest);
        return;
      case 'refused':
        await this.expectClose(name, this.parse(this.script.protocol === '5.0' ? `20 [ 00 ${rest} [~ ] ]` : `20 02 00 ${rest}`));
        return;
      default:
        this.send(name, PING.request);
        await this.expect(name, [{ kind: 'bytes', values: [...PING.response], masks: [0xff, 0xff] }]);
    }
  }

  private noteKeepAlive(name: string, packet: string): void {
    const seconds = Number.parseInt(/keepalive=([0-9a-f]{4})/.exec(packet)?.[1] ?? '0', 16);
    if (seconds > 0) this.silences.set(name, seconds * 1500);
  }

  nothingLeft(): void {
    for (const [name, connection] of this.connections) {
      const packet = connection.unread[0];
      if (packet !== undefined) {
        throw new Error(`${name} received more than the script expects: ${describePacket(packet, this.script.protocol)}`);
      }
    }
  }

  close(): void {
    for (const connection of this.connections.values()) {
      connection.destroy();
    }
  }

  private parse(text: string): Notation {
    return parseNotation(text, this.options.templates, (name) => this.placeholder(name));
  }

  private placeholder(name: string): string {
    if (name === 't') {
      return `t${this.options.unique}`;
    }
    if (name.startsWith('id:')) {
      return this.clientId(name.slice(3));
    }
    throw new Error(`no placeholder {${name}}`);
  }

  /** A Client Identifier of at most 23 letters and digits whose shard is the one that the placement wants. */
  private clientId(name: string): string {
    const known = this.clientIds.get(name);
    if (known !== undefined) {
      return known;
    }
    const { shards, unique, placement } = this.options;
    const wanted = placement === 'together' ? hash32Of(unique) % shards : (hash32Of(unique) + this.clientIds.size) % shards;
    for (let attempt = 0; ; attempt++) {
      const clientId = `${name}${unique}x${attempt.toString(36)}`;
      if (shards === 1 || shardOfSlot(slotOf(hash32Of(clientId)), shards) === wanted) {
        this.clientIds.set(name, clientId);
        return clientId;
      }
    }
  }

  private open(name: string): Connection {
    const connection = new Connection(this.options.place);
    this.connections.set(name, connection);
    return connection;
  }

  private connection(name: string): Connection {
    const connection = this.connections.get(name);
    if (connection === undefined) {
      throw new Error(`${name} is not open`);
    }
    return connection;
  }

  private send(name: string, bytes: Uint8Array): void {
    const connection = this.connections.get(name) ?? this.open(name);
    this.note(name, `> ${describePacket(bytes, this.script.protocol)}`);
    connection.send(bytes);
  }

  private async receive(name: string): Promise<Arrival> {
    const arrival = await this.connection(name).next(this.options.deadlineMilliseconds);
    this.missed = arrival === 'nothing';
    this.note(name, `< ${this.describe(arrival)}`);
    return arrival;
  }

  private async expect(name: string, pattern: Notation): Promise<void> {
    this.check(await this.receive(name), pattern);
  }

  private check(arrival: Arrival, pattern: Notation): void {
    if (typeof arrival === 'string' || !matchNotation(pattern, arrival, this.captures)) {
      throw new Error(`expected ${showNotation(pattern)}\n  received ${this.describe(arrival)}`);
    }
  }

  /** Expects the packet, if there is one, then the close. */
  private async expectClose(name: string, last?: Notation): Promise<void> {
    let arrival = await this.receive(name);
    if (last !== undefined && !(arrival === 'closed' && this.options.bareCloses)) {
      this.check(arrival, last);
      arrival = await this.receive(name);
    }
    if (arrival !== 'closed') {
      throw new Error(`expected the broker to close the connection\n  received ${this.describe(arrival)}`);
    }
  }

  private async expectRejection(name: string): Promise<void> {
    const arrival = await this.receive(name);
    if (arrival === 'closed') {
      return;
    }
    if (typeof arrival === 'string' || arrival[0] !== CONNACK_TYPE << 4 || arrival[3] === 0) {
      throw new Error(`expected the close of the connection, or a CONNACK that refuses\n  received ${this.describe(arrival)}`);
    }
    await this.expectClose(name);
  }

  private async expectFilterRejection(name: string, packetId: string): Promise<void> {
    const arrival = await this.receive(name);
    if (
      arrival !== 'closed' &&
      (typeof arrival === 'string' || !matchNotation(this.parse(`90 03 ${packetId} 80`), arrival, this.captures))
    ) {
      throw new Error(`expected the close of the connection, or SUBACK with 80\n  received ${this.describe(arrival)}`);
    }
  }

  /** Each expectation is met by one packet; packets of one connection may come in any order. */
  private async unordered(expectations: readonly string[]): Promise<void> {
    const left = expectations.map((text) => this.expectation(text));
    while (left.length > 0) {
      const name = left[0]!.name;
      const arrival = await this.receive(name);
      const found =
        typeof arrival === 'string' ? -1 : left.findIndex((one) => one.name === name && matchNotation(one.pattern, arrival, this.captures));
      if (found === -1) {
        const wanted = left.filter((one) => one.name === name).map((one) => showNotation(one.pattern));
        throw new Error(`expected on ${name} one of\n    ${wanted.join('\n    ')}\n  received ${this.describe(arrival)}`);
      }
      left.splice(found, 1);
    }
  }

  private async shared(step: SharedStep): Promise<void> {
    const pattern = this.parse(step.shared);
    const fence = this.parse(step.until);
    let count = 0;
    for (const name of step.among) {
      for (;;) {
        const arrival = await this.receive(name);
        if (typeof arrival !== 'string' && matchNotation(fence, arrival, this.captures)) {
          break;
        }
        if (typeof arrival === 'string' || !matchNotation(pattern, arrival, this.captures)) {
          throw new Error(`expected ${showNotation(pattern)}, or ${showNotation(fence)}\n  received ${this.describe(arrival)}`);
        }
        count++;
      }
    }
    if (count !== step.times) {
      throw new Error(`expected ${step.times} packets ${showNotation(pattern)} among ${step.among.join(', ')}\n  received ${count}`);
    }
  }

  private async seek(wanted: string, never: string | undefined): Promise<void> {
    const { name, pattern } = this.expectation(wanted);
    const forbidden = never === undefined ? undefined : this.parse(never);
    for (;;) {
      const arrival = await this.receive(name);
      if (typeof arrival === 'string') {
        throw new Error(`expected sooner or later ${showNotation(pattern)}\n  received ${this.describe(arrival)}`);
      }
      if (matchNotation(pattern, arrival, this.captures)) {
        return;
      }
      if (forbidden !== undefined && matchNotation(forbidden, arrival, this.captures)) {
        throw new Error(`must not receive ${this.describe(arrival)}`);
      }
    }
  }

  private expectation(text: string): { name: string; pattern: Notation } {
    const parts = /^(\w+) < (.*)$/s.exec(text);
    if (parts === null) {
      throw new Error(`not an expectation: ${text}`);
    }
    return { name: parts[1]!, pattern: this.parse(parts[2]!) };
  }

  private describe(arrival: Arrival): string {
    if (arrival === 'nothing') {
      return `nothing within ${this.options.deadlineMilliseconds} ms`;
    }
    return arrival === 'closed' ? 'the close of the connection' : describePacket(arrival, this.script.protocol);
  }

  private note(name: string, text: string): void {
    this.transcript.push(`${name} ${text}`);
  }
}

function hash32Of(text: string): number {
  const bytes = Buffer.from(text, 'utf8');
  return hash32(bytes, 0, bytes.length) >>> 0;
}
