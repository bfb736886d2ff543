/**
 * ImportFormat: lines of an export back into entries of a new store. The format is told by `export-format.ts`; every line is checked, and the first that
 * is wrong ends the import with one clear line.
 *
 * All entries go to the log of shard 0: the first start spreads them over the shards that there are.
 */
import { ATTRIBUTES_BYTES_MAX } from '../access/attribute-bytes.ts';
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { packObject } from '../base/pack.ts';
import { ENTRY_MESSAGE, ENTRY_ORIGIN, ENTRY_OWN, ENTRY_RETAINED, FLAG_STORED_PUBLISHER } from '../journal/entry.ts';
import { MessageView, RECEIPT_NONE, RECEIPT_TO_TOPIC } from '../protocol/publish.ts';
import { INFLIGHT_QOS1, INFLIGHT_QOS2, INFLIGHT_RELEASED } from '../session/inflight.ts';
import { Message, viewMessage } from '../session/message.ts';
import { EXPORT_FORMAT, EXPORT_VERSION } from './export-format.ts';
import { EPOCH_IDS } from './store-meta.ts';
import type { StoreWriter } from './store-writer.ts';

/** What is wrong with a line, in words that follow its place. */
export class LineProblem extends Error {}

/** A line as it was parsed; each field is checked when it is read. */
class Fields {
  private readonly object: Record<string, unknown>;
  private readonly place: string;

  constructor(value: unknown, place: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new LineProblem(`${place}expected an object`);
    this.object = value as Record<string, unknown>;
    this.place = place;
  }

  has(name: string): boolean {
    return this.object[name] !== undefined && this.object[name] !== null;
  }

  private wrong(name: string, expected: string): LineProblem {
    return new LineProblem(`${this.place}${name}: expected ${expected}, not ${JSON.stringify(this.object[name]) ?? 'nothing'}`);
  }

  whole(name: string, least: number, most: number, standard?: number): number {
    const value = this.object[name];
    if (value === undefined && standard !== undefined) return standard;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw this.wrong(name, `a whole number from ${least} to ${most}`);
    return value;
  }

  text(name: string, standard?: string): string {
    const value = this.object[name];
    if (value === undefined && standard !== undefined) return standard;
    if (typeof value !== 'string') throw this.wrong(name, 'a text');
    return value;
  }

  /** Every field, as a text; all together of so many bytes at most. */
  allTexts(bytesMax: number): Record<string, string> {
    const texts: Record<string, string> = {};
    let bytes = 0;
    for (const name of Object.keys(this.object)) {
      texts[name] = this.text(name);
      bytes += Buffer.byteLength(name) + Buffer.byteLength(texts[name]);
    }
    if (bytes > bytesMax) throw new LineProblem(`${this.place}expected at most ${bytesMax} bytes`);
    return texts;
  }

  flag(name: string): boolean {
    const value = this.object[name] ?? false;
    if (typeof value !== 'boolean') throw this.wrong(name, 'true or false');
    return value;
  }

  bytes(name: string): Uint8Array {
    const value = this.object[name] ?? '';
    if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw this.wrong(name, 'Base64');
    return Buffer.from(value, 'base64');
  }

  list(name: string): readonly unknown[] {
    const value = this.object[name] ?? [];
    if (!Array.isArray(value)) throw this.wrong(name, 'a list');
    return value;
  }

  inner(name: string): Fields {
    return new Fields(this.object[name], `${this.place}${name}: `);
  }

  innerList(name: string): Fields[] {
    return this.list(name).map((value, index) => new Fields(value, `${this.place}${name}[${index}]: `));
  }

  wholeList(name: string, least: number, most: number): number[] {
    return this.list(name).map((value) => {
      if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
        throw this.wrong(name, `whole numbers from ${least} to ${most}`);
      return value;
    });
  }
}

const LARGEST = Number.MAX_SAFE_INTEGER;
const FOUR_BYTES = 0xffffffff;

function messageOf(fields: Fields): Message {
  const topic = utf8Bytes(fields.text('topic'));
  const properties = fields.bytes('properties');
  const bytes = Buffer.concat([topic, properties, fields.bytes('payload')]);
  const propertiesEnd = topic.length + properties.length;
  const expiresAt = fields.whole('expiresAt', 0, LARGEST, 0);
  return new Message(
    bytes,
    topic.length,
    propertiesEnd,
    fields.whole('qos', 0, 2),
    fields.flag('retain'),
    expiresAt,
    fields.flag('receipt') ? RECEIPT_TO_TOPIC : RECEIPT_NONE,
  );
}

/** What targets must be asked. */
function askedOf(fields: Fields): object {
  if (!fields.has('asked')) return {};
  return { asked: fields.innerList('asked').map((one) => ({ target: one.bytes('target'), question: one.bytes('question') })) };
}

function packedOf({ bytes, topicEnd, propertiesEnd, qos, isRetained: retain }: Message): object {
  return { bytes, topicEnd, propertiesEnd, qos, retain };
}

/** What an import has brought, by type of line. */
export interface ImportCounts {
  sessions: number;
  mailboxes: number;
  messages: number;
  deliveries: number;
  retained: number;
  own: number;
  origins: number;
}

export class Importer {
  readonly counts: ImportCounts;
  /** Of the broker that made the export, or of the largest number in it. */
  epoch: number;
  /** The last line has come. */
  isComplete: boolean;
  private readonly writer: StoreWriter;
  private readonly clientIds: Map<number, string>;
  private readonly known: Set<string>;
  private readonly sequences: Map<number, Set<number>>;
  private readonly packetIds: Map<number, Set<number>>;
  private readonly view: MessageView;
  private lines: number;

  constructor(writer: StoreWriter) {
    this.counts = { sessions: 0, mailboxes: 0, messages: 0, deliveries: 0, retained: 0, own: 0, origins: 0 };
    this.epoch = 0;
    this.isComplete = false;
    this.writer = writer;
    this.clientIds = new Map();
    this.known = new Set();
    this.sequences = new Map();
    this.packetIds = new Map();
    this.view = new MessageView();
    this.lines = -1;
  }

  /** Takes the next line. @throws LineProblem */
  take(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw new LineProblem('this is no JSON');
    }
    const fields = new Fields(value, '');
    if (this.isComplete) throw new LineProblem('nothing is expected behind the line of type "end"');
    if (this.lines++ < 0) {
      this.takeHead(fields);
      return;
    }
    const type = fields.text('type');
    switch (type) {
      case 'session':
        this.takeSession(fields);
        return;
      case 'mailbox':
        this.takeMailbox(fields);
        return;
      case 'message':
        this.takeMessage(fields);
        return;
      case 'retained':
        this.takeRetained(fields);
        return;
      case 'own':
        this.takeOwn(fields);
        return;
      case 'origin':
        this.takeOrigin(fields);
        return;
      case 'end': {
        const lines = fields.whole('lines', 0, LARGEST);
        if (lines !== this.lines - 1)
          throw new LineProblem(`${lines} lines are said to be before this one, and there are ${this.lines - 1}`);
        this.isComplete = true;
        return;
      }
      default:
        throw new LineProblem(`a type that is not known: "${type}"`);
    }
  }

  private takeHead(fields: Fields): void {
    if (!fields.has('format') || fields.text('format') !== EXPORT_FORMAT) throw new LineProblem('this is no export of onehop');
    const version = fields.whole('version', 1, LARGEST);
    if (version > EXPORT_VERSION)
      throw new LineProblem(
        `version ${version} of the export is newer than this onehop, which reads up to ${EXPORT_VERSION}; use a newer one`,
      );
    this.epoch = fields.whole('epoch', 0, 2 ** 20, 0);
  }

  /** A number that somebody has or had: numbers of the next start are larger. */
  private number(fields: Fields, name: string): number {
    const id = fields.whole(name, 1, LARGEST);
    this.epoch = Math.max(this.epoch, Math.floor(id / EPOCH_IDS));
    return id;
  }

  /** Number and Client Identifier of a new session or mailbox. */
  private begin(fields: Fields): { id: number; clientId: Uint8Array } {
    const id = this.number(fields, 'id');
    const clientId = fields.text('clientId');
    if (this.clientIds.has(id)) throw new LineProblem(`id ${id} has come before`);
    if (this.known.has(clientId)) throw new LineProblem(`clientId "${clientId}" has come before`);
    this.clientIds.set(id, clientId);
    this.known.add(clientId);
    return { id, clientId: utf8Bytes(clientId) };
  }

  private takeSession(fields: Fields): void {
    const { id, clientId } = this.begin(fields);
    const object: Record<string, unknown> = {
      kind: 'session',
      clientId,
      version: fields.whole('version', 3, 5),
      expirySeconds: fields.whole('expirySeconds', 0, FOUR_BYTES),
      closedAt: fields.whole('closedAt', 0, LARGEST, 0),
      nextSequence: fields.whole('nextSequence', 1, LARGEST, 1),
    };
    if (fields.has('createdAt')) object['createdAt'] = fields.whole('createdAt', 0, LARGEST);
    if (fields.has('username')) object['username'] = fields.text('username');
    if (fields.has('attributes')) object['attributes'] = fields.inner('attributes').allTexts(ATTRIBUTES_BYTES_MAX);
    if (fields.has('will')) {
      const will = fields.inner('will');
      const expirySeconds = will.whole('expirySeconds', -1, FOUR_BYTES, -1);
      object['will'] = {
        ...packedOf(messageOf(will)),
        delaySeconds: will.whole('delaySeconds', 0, FOUR_BYTES, 0),
        expirySeconds,
        ...askedOf(will),
      };
    }
    const received = fields.wholeList('received', 1, 0xffff);
    if (received.length > 0) object['received'] = received;
    const subscriptions = fields.innerList('subscriptions').map((one) => ({
      filter: one.text('filter'),
      qos: one.whole('qos', 0, 2),
      ...(one.flag('noLocal') ? { noLocal: true } : {}),
      ...(one.flag('retainAsPublished') ? { retainAsPublished: true } : {}),
      ...(one.has('retainHandling') ? { retainHandling: one.whole('retainHandling', 0, 2) } : {}),
      ...(one.has('identifier') ? { identifier: one.whole('identifier', 1, 268_435_455) } : {}),
    }));
    if (subscriptions.length > 0) object['subscriptions'] = subscriptions;
    this.writer.whole(0, id, object);
    this.counts.sessions++;
  }

  private takeMailbox(fields: Fields): void {
    const { id, clientId } = this.begin(fields);
    this.writer.whole(0, id, { kind: 'mailbox', clientId, createdAt: fields.whole('createdAt', 0, LARGEST) });
    this.counts.mailboxes++;
  }

  private takeMessage(fields: Fields): void {
    viewMessage(this.view, messageOf(fields));
    const batch = this.writer.begin(0);
    batch.message(ENTRY_MESSAGE, this.view, 0);
    for (const to of fields.innerList('to')) {
      const id = to.whole('id', 1, LARGEST);
      if (!this.clientIds.has(id)) throw new LineProblem(`id ${id} is no session that has come before`);
      const sequence = to.whole('sequence', 1, LARGEST);
      if (!addOnce(this.sequences, id, sequence)) throw new LineProblem(`sequence ${sequence} of id ${id} has come before`);
      const qos = to.whole('qos', 0, 2);
      const state = stateOf(to.text('state'), qos);
      const packetId = state === 0 ? 0 : to.whole('packetId', 1, 0xffff);
      if (state !== 0 && !addOnce(this.packetIds, id, packetId)) throw new LineProblem(`packetId ${packetId} of id ${id} is in use twice`);
      const identifiers = to.wholeList('identifiers', 1, 268_435_455);
      batch.delivery(
        id,
        sequence,
        qos,
        to.flag('retain'),
        state,
        packetId,
        identifiers.length === 0 ? null : Uint32Array.from(identifiers),
        identifiers.length,
        to.has('sharedFilter') ? to.text('sharedFilter') : null,
      );
      this.counts.deliveries++;
    }
    this.counts.messages++;
  }

  private takeRetained(fields: Fields): void {
    const message = messageOf(fields);
    if (message.propertiesEnd === message.bytes.length) throw new LineProblem('payload: a retained message without one is none');
    viewMessage(this.view, message);
    this.view.isRetained = true;
    this.writer.begin(0).message(ENTRY_RETAINED, this.view, hash32(message.bytes, 0, message.topicEnd));
    this.counts.retained++;
  }

  private takeOwn(fields: Fields): void {
    const message = messageOf(fields);
    const object = {
      ...packedOf(message),
      expiresAt: message.expiresAt,
      publisherId: fields.text('publisherId', ''),
      shareKey: fields.text('shareKey', ''),
      ...askedOf(fields),
    };
    this.writer.begin(0).packed(ENTRY_OWN, this.number(fields, 'id'), packObject(object));
    this.counts.own++;
  }

  private takeOrigin(fields: Fields): void {
    const session = fields.whole('session', 1, LARGEST);
    if (!this.clientIds.has(session)) throw new LineProblem(`session ${session} is none that has come before`);
    const flags = fields.flag('isStored') ? FLAG_STORED_PUBLISHER : 0;
    const packetId = fields.whole('packetId', 1, 0xffff);
    const publisher = this.number(fields, 'publisher');
    this.writer.begin(0).three(ENTRY_ORIGIN, flags, packetId, session, publisher, fields.whole('content', 0, FOUR_BYTES));
    this.counts.origins++;
  }
}

/** @returns false when the number was there */
function addOnce(sets: Map<number, Set<number>>, id: number, value: number): boolean {
  const set = sets.get(id) ?? new Set();
  sets.set(id, set);
  if (set.has(value)) return false;
  set.add(value);
  return true;
}

function stateOf(word: string, qos: number): number {
  switch (word) {
    case 'waiting':
      return 0;
    case 'sent':
      if (qos > 0) return qos === 2 ? INFLIGHT_QOS2 : INFLIGHT_QOS1;
      break;
    case 'released':
      if (qos === 2) return INFLIGHT_RELEASED;
      break;
  }
  throw new LineProblem(`state: "${word}" cannot be with QoS ${qos}`);
}
