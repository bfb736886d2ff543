/**
 * A broker with an HTTP door, and requests to it, for tests: each role has an API key.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROLES, type Role } from '../../src/http/role.ts';
import { addApiKey } from '../../src/server/api-key-commands.ts';
import { type BrokerOptions, startBroker, type TestBroker } from './broker.ts';

/** For all sessions to end. */
const END_MILLISECONDS = 30_000;

export interface HttpReply {
  readonly status: number;
  readonly headers: Headers;
  /** The parsed JSON; null where it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it.
  readonly json: any;
  readonly text: string;
}

export interface HttpBroker extends TestBroker {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** File of the API keys. */
  readonly keyFile: string;
  readonly keys: Readonly<Record<Role, string>>;
  /** A request with the key of a role; without one with no credentials. An object as body is sent as JSON. */
  request(method: string, path: string, options?: { role?: Role; body?: unknown; headers?: Record<string, string> }): Promise<HttpReply>;
}

/** Starts a broker with a TCP and an HTTP listener; it is stopped with the test. @param t for a broker of a whole suite: `suite()` */
export async function startHttpBroker(t: { after(stop: () => Promise<unknown>): void }, options: BrokerOptions = {}): Promise<HttpBroker> {
  const keyFile = join(mkdtempSync(join(tmpdir(), 'onehop-keys-')), 'api-keys.json');
  const keys = {} as Record<Role, string>;
  for (const role of ROLES) keys[role] = addApiKey(keyFile, { id: `test${role}`, role, username: '', expiresAt: 0, remark: '' });
  const broker = await startBroker({
    listeners: [
      { type: 'tcp', bind: '127.0.0.1:0' },
      { type: 'http', bind: '127.0.0.1:0' },
    ],
    'http.apiKeys': keyFile,
    'http.auditLog': `${keyFile}.audit.log`,
    'store.backups': `${keyFile}.backups`,
    ...options,
  });
  t.after(() => broker.stop());
  const url = `http://127.0.0.1:${broker.ports[1]}`;
  return {
    ...broker,
    url,
    keyFile,
    keys,
    request: async (method, path, { role, body, headers = {} } = {}) => {
      const isJson = body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);
      const reply = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(role !== undefined && { authorization: `Bearer ${keys[role]}` }),
          ...(isJson && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as string) }),
      });
      const text = await reply.text();
      let json: unknown = null;
      if (/json/.test(reply.headers.get('content-type') ?? '') && text !== '') json = JSON.parse(text);
      return { status: reply.status, headers: reply.headers, json, text };
    },
  };
}

/** For `startHttpBroker` in a `before` hook: the broker lives until the suite calls `stop`, in its `after` hook. */
export function suite(): { after(stop: () => Promise<unknown>): void; stop(): Promise<unknown> } {
  const stops: (() => Promise<unknown>)[] = [];
  return {
    after: (stop) => void stops.push(stop),
    stop: () => Promise.all(stops.map((stop) => stop())),
  };
}

/** Ends every session, so that the next part of a test begins with none. */
export async function endAllClients(broker: HttpBroker): Promise<void> {
  const end = Date.now() + END_MILLISECONDS;
  while (Date.now() < end) {
    const { json } = await broker.request('GET', '/api/v1/clients', { role: 'viewer' });
    if (json.data.length === 0) return;
    for (const { clientId } of json.data as { clientId: string }[])
      await broker.request('DELETE', `/api/v1/clients/${encodeURIComponent(clientId)}?session=true&will=false`, { role: 'operator' });
  }
  throw new Error('the sessions do not end');
}
