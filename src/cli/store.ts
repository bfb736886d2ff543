/**
 * `onehop store …`: looks into stores, checks them, and carries them from place to place. What it finds goes to standard output, how far it has come and
 * what went wrong to standard error.
 *
 * Invariant: exit code 0 means that all was read, or written and on disk; 1 that something is damaged or refused. Payloads are shown only when asked for.
 */
import { closeSync, createReadStream, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { SessionSummary, StoreSummary } from '../server/store-commands.ts';
import { Failure } from './failure.ts';
import { print, standardOutput } from './output.ts';

const PROGRESS_MILLISECONDS = 2000;

/** Says now and then on standard error how far a command has come. */
function progressOf(what: string): (records: number, of: number) => void {
  let saidAt = performance.now();
  return (records, of) => {
    if ((records & 63) !== 0 || performance.now() - saidAt < PROGRESS_MILLISECONDS) return;
    saidAt = performance.now();
    const percent = of === 0 ? 100 : Math.min(100, Math.floor((records * 100) / of));
    process.stderr.write(`${what}: ${number(records)} of ${number(of)} records (${percent} %)\n`);
  };
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export interface InspectOptions {
  readonly json?: boolean;
  /** Client Identifier. */
  readonly session?: string;
  readonly payloads?: boolean;
}

/** `onehop store inspect`. */
export async function inspect(directory: string, options: InspectOptions): Promise<void> {
  const { inspectSession, inspectStore } = await import('../server/store-commands.ts');
  const progress = progressOf('reading');
  if (options.session === undefined) {
    if (options.payloads === true) throw new Failure('--payloads shows those of one session: name it with --session', 2);
    const summary = await inspectStore(directory, progress);
    print(options.json === true ? JSON.stringify(summary, null, 2) : storeText(summary));
    return;
  }
  const session = await inspectSession(directory, options.session, options.payloads === true, progress);
  print(options.json === true ? JSON.stringify(session, null, 2) : sessionText(session));
}

function storeText(store: StoreSummary): string {
  const { contents } = store;
  const entries = Object.entries(store.entries).map(([kind, count]) => `${kind} ${number(count)}`);
  const lines = [
    store.path,
    `  store      format ${store.format}, ${plural(store.shards, 'shard')}, ${plural(store.epoch, 'start')}, file of ${number(store.fileBytes)} bytes`,
    `  records    ${number(store.records)} of ${number(store.recordBytes)} bytes, of which ${number(store.liveBytes)} are still needed`,
    ...store.perShard.map(({ shard, records, bytes }) => `    shard ${shard}: ${plural(records, 'record')} of ${number(bytes)} bytes`),
  ];
  if (store.oldest !== null) lines.push(`  written    from ${store.oldest} to ${store.newest}`);
  lines.push(
    `  sessions   ${number(contents.sessions)} (${number(contents.connected)} connected, ${number(contents.away)} away), ${plural(contents.subscriptions, 'subscription')}, ${plural(contents.wills, 'will')}`,
    `  messages   ${number(contents.waiting)} waiting, ${number(contents.inflight)} in flight, ${plural(contents.received, 'QoS 2 identifier')} received`,
    `  retained   ${number(contents.retained)}`,
    `  mailboxes  ${number(contents.mailboxes)}`,
  );
  if (contents.own > 0) lines.push(`  to publish ${plural(contents.own, 'message')} of the broker itself`);
  if (entries.length > 0) lines.push(`  entries    ${entries.join(', ')}`);
  if (store.isBeingRewritten || store.leftOver > 0)
    lines.push(`  left over  ${plural(store.leftOver, 'record')} from a change of the number of shards; the next start removes them`);
  if (store.damages > 0) lines.push(`  DAMAGED    in ${plural(store.damages, 'place')}; "onehop store verify ${store.path}" says where`);
  return lines.join('\n');
}

function sessionText(session: SessionSummary): string {
  const { holder } = session;
  const lines = [`${session.kind} of client "${session.clientId}", shard ${session.shard}`];
  if (session.kind === 'session') {
    const closedAt = Number(holder['closedAt']);
    const username = holder['username'] === undefined ? '' : `, user name "${holder['username']}"`;
    const expiry = Number(holder['expirySeconds']);
    const keeps = expiry === 0xffffffff ? 'never expires' : `expires ${plural(expiry, 'second')} after its connection`;
    const place = closedAt === 0 ? 'connected when the store was last written' : `away since ${new Date(closedAt).toISOString()}`;
    lines.push(
      `  MQTT ${versionText(Number(holder['version']))}${username}, ${place}, ${keeps}`,
      `  will: ${session.hasWill ? 'yes' : 'no'}`,
    );
    const subscriptions = (holder['subscriptions'] ?? []) as { filter: string; qos: number }[];
    lines.push(`  ${plural(subscriptions.length, 'subscription')}`);
    for (const { filter, qos } of subscriptions) lines.push(`    ${filter} (QoS ${qos})`);
    const received = (holder['received'] ?? []) as number[];
    if (received.length > 0) lines.push(`  received QoS 2 identifiers: ${received.join(', ')}`);
  } else lines.push(`  since ${new Date(Number(holder['createdAt'])).toISOString()}`);
  lines.push(`  ${plural(session.waiting, 'message')} waiting, ${number(session.inflight)} in flight`);
  for (const { sequence, state, packetId, topic, qos, payload } of session.messages ?? []) {
    const place = packetId === undefined ? state : `${state} as ${packetId}`;
    lines.push(`    ${sequence} (${place}) ${topic} QoS ${qos}: ${payloadText(payload)}`);
  }
  return lines.join('\n');
}

function versionText(version: number): string {
  return version === 5 ? '5.0' : version === 4 ? '3.1.1' : '3.1';
}

/** As text where it is some, otherwise as Base64. */
function payloadText(base64: string): string {
  const bytes = Buffer.from(base64, 'base64');
  try {
    return JSON.stringify(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return `base64 ${base64}`;
  }
}

/** `onehop store verify`. @returns exit code */
export async function verify(directory: string): Promise<number> {
  const { verifyStore } = await import('../server/store-commands.ts');
  const { records, bytes, damages } = await verifyStore(directory, print, progressOf('verifying'));
  if (damages === 0) print(`${directory}: sound (${plural(records, 'record')}, ${number(bytes)} bytes)`);
  else print(`${directory}: damaged in ${plural(damages, 'place')} (${plural(records, 'record')} read)`);
  return damages === 0 ? 0 : 1;
}

/** Writes to standard output, no faster than it is taken. */
function toStandardOutput(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    standardOutput().write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** `onehop store export`. */
export async function exportTo(directory: string, options: { readonly output?: string }): Promise<void> {
  const { exportStore } = await import('../server/store-commands-transfer.ts');
  const progress = progressOf('exporting');
  if (options.output === undefined) {
    await exportStore(directory, toStandardOutput, progress);
    return;
  }
  const part = `${options.output}.part`;
  let fd = -1;
  try {
    fd = openSync(part, 'w', 0o600);
    const counts = await exportStore(
      directory,
      async (text) => {
        writeWhole(fd, Buffer.from(text));
      },
      progress,
    );
    fsyncSync(fd);
    renameSync(part, options.output);
    const { sessions, waiting, inflight, retained, mailboxes } = counts;
    process.stderr.write(
      `${options.output}: ${plural(sessions, 'session')}, ${plural(waiting + inflight, 'message')}, ${number(retained)} retained, ${plural(mailboxes, 'mailbox', 'mailboxes')}\n`,
    );
  } catch (error) {
    rmSync(part, { force: true });
    if (isFault(error)) throw error;
    throw new Failure(`cannot write ${options.output}: ${(error as Error).message}`);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** Whether an error is not one of the system that a person can mend. */
function isFault(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException).syscall !== 'string';
}

function writeWhole(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** Lines of a text. @throws Failure when it cannot be read */
async function* linesOf(input: Readable, name: string): AsyncGenerator<string> {
  // Pieces of a line that has not ended; it may be as long as the largest message.
  let rest: string[] = [];
  input.setEncoding('utf8');
  try {
    for await (const chunk of input as AsyncIterable<string>) {
      const lines = chunk.split('\n');
      rest.push(lines.pop()!);
      if (lines.length === 0) continue;
      lines[0] = rest.slice(0, -1).join('') + lines[0];
      rest = rest.slice(-1);
      yield* lines;
    }
  } catch (error) {
    throw new Failure(`${name}: cannot read this file: ${(error as Error).message}`);
  }
  yield rest.join('');
}

/** `onehop store import`. @param file absent or `-`: standard input */
export async function importFrom(directory: string, file: string | undefined): Promise<void> {
  const { importStore } = await import('../server/store-commands-transfer.ts');
  const isInput = file === undefined || file === '-';
  const input: Readable = isInput ? process.stdin : createReadStream(file);
  const name = isInput ? 'standard input' : file;
  const counts = await importStore(directory, name, linesOf(input, name));
  const { sessions, mailboxes, messages, deliveries, retained } = counts;
  print(
    `${directory}: ${plural(sessions, 'session')}, ${plural(messages, 'message')} for ${plural(deliveries, 'delivery', 'deliveries')}, ${number(retained)} retained, ${plural(mailboxes, 'mailbox', 'mailboxes')}`,
  );
}

/** `onehop store compact`. */
export async function compact(directory: string): Promise<void> {
  const { compactStore } = await import('../server/store-commands-copy.ts');
  const { before, after } = await compactStore(directory, progressOf('compacting'));
  print(`${directory}: ${number(before)} bytes before, ${number(after)} bytes after`);
}

/** `onehop store backup`. */
export async function backup(directory: string, target: string): Promise<void> {
  const { backupStore } = await import('../server/store-commands-copy.ts');
  const { records, bytes } = await backupStore(directory, target, progressOf('reading the copy'));
  print(`${target}: ${plural(records, 'record')}, ${number(bytes)} bytes, all of them read and sound`);
}
