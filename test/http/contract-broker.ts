/*
 * The broker of the contract test: two shards, authenticators, one API key for each role, and clients, messages and a session, so that lists have something to show. A route may
 * end it or shut out its caller; then another one takes its place.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import type { TestContext } from 'node:test';
import { ROLES, type Role } from '../../src/http/role.ts';
import { allRoutes } from '../../src/http/routes.ts';
import { addApiKey } from '../../src/server/api-key-commands.ts';
import { newCode } from '../../src/server/certificate-commands.ts';
import { configKeys } from '../../src/server/config-schema.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { connect, type TestClient } from '../support/client.ts';
import { storeDirectory } from '../support/store-directory.ts';

/** `http.requestSize`: small, so that what is too large is soon sent. */
export const REQUEST_BYTES = 65_536;

const SHARDS = 2;
/** Connections that are made at most to find one of each shard. */
const TRIES = 200;
/** How long a code of the registry counts that nobody uses. */
const REGISTRY_MILLISECONDS = 3_600_000;
/** pino. */
const ERROR = 50;

export class ContractBroker {
  keys: Readonly<Record<Role, string>>;
  private broker: TestBroker;
  private clients: readonly TestClient[];
  /** Lines of the log that have been looked at. */
  private seen: number;

  private constructor(broker: TestBroker, keys: Readonly<Record<Role, string>>) {
    this.broker = broker;
    this.keys = keys;
    this.clients = [];
    this.seen = 0;
  }

  static async start(): Promise<ContractBroker> {
    // What a request makes it write by a relative name belongs nowhere else.
    process.chdir(storeDirectory());
    const made = new ContractBroker(...(await startOne()));
    await made.populate();
    return made;
  }

  get port(): number {
    return this.broker.ports[1]!;
  }

  /** Every shard serves and the administrator is one; else another broker begins. */
  async ready(t: TestContext): Promise<void> {
    let isGone = false;
    const ask = (): Promise<unknown> => this.json('GET', '/api/v1/me', 'admin');
    // A connection that has been quiet for long may have been ended, and is noticed only when it is used.
    const me = await ask()
      .catch(ask)
      .catch(() => {
        isGone = true;
        return null;
      });
    if ((me as { readonly role?: string } | null)?.role !== 'admin') {
      t.diagnostic(`another broker begins: ${JSON.stringify(me)}`);
      await this.stop();
      [this.broker, this.keys] = await startOne();
      this.seen = 0;
      await this.populate();
      assert.ok(!isGone || /stop|restart/i.test(t.name), 'the broker has ended');
    }
    const shards = new Set<string>();
    for (let tries = 0; shards.size < SHARDS; tries++) {
      assert.ok(tries < TRIES, `only the shards ${[...shards].join(', ')} answer`);
      shards.add((await this.idOfNewConnection()).split('-')[0]!);
    }
  }

  /** What the log says about a request. */
  failure(id: string): string {
    return JSON.stringify(this.broker.log.find((line) => line['id'] === id && Number(line['level']) >= ERROR) ?? {});
  }

  /** Errors in the log since the last call. */
  takeFailures(): string[] {
    const fresh = this.broker.log.slice(this.seen);
    this.seen = this.broker.log.length;
    return fresh.filter(({ level }) => Number(level) >= ERROR).map((line) => `in the log: ${JSON.stringify(line)}`);
  }

  async json(method: string, path: string, role: Role): Promise<unknown> {
    const reply = await fetch(`http://127.0.0.1:${this.port}${path}`, { method, headers: { authorization: `Bearer ${this.keys[role]}` } });
    return await reply.json();
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.destroy();
    await this.broker.stop();
  }

  private async idOfNewConnection(): Promise<string> {
    const socket = net.connect(this.port, '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    const [head] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return /x-request-id: (\S+)/i.exec(head.toString())![1]!;
  }

  /** The clients that examples name, one that is away and one of a group; a retained message, and queued ones. */
  private async populate(): Promise<void> {
    const named = new Set(['dev-1']);
    for (const { example } of allRoutes()) {
      const { clientId } = (example?.params ?? {}) as { readonly clientId?: string };
      if (clientId !== undefined) named.add(clientId);
    }
    const credentials = { username: 'ann', password: 'secret' };
    const clients: TestClient[] = [];
    for (const clientId of named) {
      const client = await connect(this.broker.port, {
        clientId,
        ...credentials,
        will: { topic: `gone/${clientId}`, payload: 'x', qos: 1, properties: { willDelayInterval: 5 } },
        properties: { sessionExpiryInterval: 3600 },
      });
      await client.subscribe([{ filter: 'plant/+/temp', qos: 1 }, { filter: '$share/workers/jobs/#' }]);
      clients.push(client);
    }
    const away = await connect(this.broker.port, { clientId: 'away-1', ...credentials, properties: { sessionExpiryInterval: 3600 } });
    await away.subscribe('plant/#', { qos: 1 });
    await away.disconnect();
    await clients[0]!.publish('plant/1/temp', '21.5', { qos: 1, retain: true });
    this.clients = clients;
  }
}

async function startOne(): Promise<[TestBroker, Record<Role, string>]> {
  const directory = storeDirectory();
  const keyFile = `${directory}/api-keys.json`;
  const keys = {} as Record<Role, string>;
  for (const role of ROLES) keys[role] = addApiKey(keyFile, { id: `test${role}`, role, username: '', expiresAt: 0, remark: '' });
  const userFile = `${directory}/users.json`;
  writeUserFile(userFile, [
    { username: 'ann', password: await hashPassword(Buffer.from('secret')), attributes: {}, isSuperuser: false, remark: '' },
  ]);
  const deviceFile = `${directory}/devices.json`;
  writeDeviceFile(deviceFile, new Map());
  const registry = `${directory}/certificates.jsonl`;
  newCode(registry, REGISTRY_MILLISECONDS);
  const broker = await startBroker({
    shards: SHARDS,
    listeners: [
      { type: 'tcp', bind: '127.0.0.1:0' },
      { type: 'http', bind: '127.0.0.1:0' },
    ],
    'http.apiKeys': keyFile,
    'http.requestSize': REQUEST_BYTES,
    'auth.authenticators': [
      { type: 'users', file: userFile },
      { type: 'devices', file: deviceFile },
      { type: 'certificate', registry },
    ],
    'auth.file': `${directory}/authenticators.json`,
    'auth.blocked': `${directory}/blocked.json`,
    ...switchedOn(directory),
  });
  return [broker, keys];
}

/** What is off unless it is asked for: routes that say so show little. */
function switchedOn(directory: string): Readonly<Record<string, unknown>> {
  const statements = `${directory}/statements.json`;
  const all = [
    { name: 'topics', effect: 'allow', actions: ['publish', 'subscribe'] },
    { name: 'devices', effect: 'allow', resource: 'p2p', actions: ['publish'] },
  ];
  writeFileSync(statements, JSON.stringify({ version: 1, statements: all }));
  const wanted: Readonly<Record<string, unknown>> = {
    'authorization.file': statements,
    'history.enabled': true,
    'history.messageId': true,
    'history.path': `${directory}/history`,
  };
  const known = new Set(configKeys().keys.map(({ path }) => path));
  return Object.fromEntries(Object.entries(wanted).filter(([key]) => known.has(key)));
}
