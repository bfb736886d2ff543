/**
 * The keys of one listener: where it listens, what it speaks, and whom it lets in. `config-schema.ts` holds the list of them.
 *
 * What belongs to one type only (`tls`, `webSocket`, `quic`, `proxy`) is a section, and is an error where it cannot mean anything.
 */
import { BlockList } from 'node:net';
import { z } from 'zod';
import { addNetwork, addressName } from '../base/network.ts';
import type { ListenerSettings, ListenerType, QuicSettings, TlsSettings, WebSocketSettings } from '../base/settings.ts';
import { LISTENERS_MAX } from '../shard/counters.ts';
import { key, optionalKey, section } from './config-key.ts';
import { anyOrList, type Bind, bind, choice, count, duration, flag, type KeyFacts, show, size, text, textList } from './config-value.ts';
import { type InboundQuotaFile, inboundQuota } from './quota-kinds.ts';

const million = 1_000_000;

function checkFile(value: string): string | undefined {
  return value === '' || value.includes('\0') ? `expected a file such as ./server.pem, not ${show(value)}` : undefined;
}

function checkUrlPath(value: string): string | undefined {
  return /^\/[\w\-./~%]*$/.test(value) ? undefined : `expected a path such as /mqtt, not ${show(value)}`;
}

/** An origin of a web page. */
export function checkOrigin(value: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/i.test(value)
    ? undefined
    : `expected origins such as https://console.example.com, not ${show(value)}`;
}

function checkCiphers(value: string): string | undefined {
  return /^[\w:+!@=\-,.]+$/.test(value) ? undefined : `expected names of ciphers as OpenSSL writes them, not ${show(value)}`;
}

/** `address` or `address/bits`. */
export function checkNetwork(value: string): string | undefined {
  try {
    addNetwork(new BlockList(), value);
    return undefined;
  } catch {
    return `expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not ${show(value)}`;
  }
}

const certificate = z.strictObject(
  { chain: text(checkFile).schema, key: text(checkFile).schema },
  {
    error: (issue) =>
      issue.code === 'invalid_type' ? `expected { chain: server.pem, key: server-key.pem }, not ${show(issue.input)}` : undefined,
  },
);

const tls = {
  certificates: z
    .array(certificate, {
      error: (issue) => `expected a list such as [{ chain: server.pem, key: server-key.pem }], not ${show(issue.input)}`,
    })
    .min(1, { error: 'expected at least one certificate' })
    .meta({
      type: 'list of `{ chain: file, key: file }`',
      default: 'none',
      text: 'Certificates in PEM, each with what is between it and its root, and their private keys. A client that names a server (SNI) gets the first one that is made out to this name, and any other client the first of all.',
      verbatim: false,
    } satisfies KeyFacts),
  verifyClient: key(
    choice('none', 'optional', 'required'),
    'none',
    'Whether clients are asked for a certificate. `optional`: one that is shown must be good. `required`: no connection without a good one.',
  ),
  ca: optionalKey(text(checkFile), 'none', 'Roots that client certificates must lead to, in PEM. Needed with `verifyClient`.'),
  crl: optionalKey(text(checkFile), 'none', 'Revoked client certificates, a list in PEM.'),
  minVersion: key(choice('1.2', '1.3'), '1.2', 'Oldest version of TLS.'),
  ciphers: optionalKey(text(checkCiphers), 'those of Node', 'Ciphers of TLS 1.2, as OpenSSL writes them.'),
};

const webSocket = {
  path: key(text(checkUrlPath), '/mqtt', 'Path that clients ask for; any other is answered 404.'),
  origins: key(
    anyOrList(checkOrigin),
    '*',
    "Pages that may connect, by their origin: `'*'` for all, or a list. A client that sends no Origin is no page, and is let in.",
  ),
  compression: key(
    flag(),
    false,
    'Whether permessage-deflate is offered. It costs memory and time for each connection, and small messages gain nothing.',
  ),
};

const quic = {
  idleTimeout: key(
    duration({ unit: 'milliseconds', min: 1_000, max: 86_400_000 }),
    '5m',
    'A connection on which nothing comes for so long is gone. A client that asks for more Keep Alive than this must send before it.',
  ),
  congestionControl: key(choice('cubic', 'reno', 'bbr'), 'cubic', 'How fast the broker sends into a network that loses packets.'),
  retry: key(
    choice('auto', 'always', 'never'),
    'auto',
    'Whether a client must show that its address is its own before anything is kept for it. `auto`: when many handshakes are under way. It costs one round trip.',
  ),
  earlyData: key(flag(), true, 'Whether a client that comes back may send its CONNECT with the first packet (0-RTT).'),
  earlyPublish: key(
    flag(),
    false,
    'Whether everything else in that first packet is acted on at once, too. Somebody who recorded it can send it again: a message may then come twice.',
  ),
  streams: key(
    count(1, 64),
    16,
    'Streams that a client may have open at a time, each with its own order: the first is its MQTT connection, further ones carry PUBLISH and SUBSCRIBE. `1`: no further ones.',
  ),
};

const proxy = {
  protocol: key(
    choice('none', 'v1', 'v2', 'any'),
    'none',
    'Whether a PROXY protocol header stands before everything else, as load balancers send it: the address in it is then the client’s.',
  ),
  trusted: key(
    textList(checkNetwork, 'networks such as [10.0.0.0/8]'),
    '127.0.0.0/8, ::1',
    'Who may send that header. From anybody else no connection is taken.',
    ['127.0.0.0/8', '::1'],
  ),
};

const shape = {
  type: choice('tcp', 'tls', 'ws', 'wss', 'quic', 'unix', 'http', 'https').schema.meta({
    type: '`tcp`, `tls`, `ws`, `wss`, `quic`, `unix`, `http`, `https`',
    default: '',
    text: 'What it speaks below MQTT. `ws` and `wss`: WebSocket, plain and over TLS. `unix`: a socket in the file system. `http` and `https`: no MQTT, but the HTTP API.',
    verbatim: false,
  } satisfies KeyFacts),
  bind: bind().meta({
    type: 'address:port, or a path',
    default: '',
    text: 'Where. An IPv6 address stands in brackets (`[::1]:1883`; `[::]:1883` takes IPv4 as well); port 0 asks for a free one. For `unix` the path of the socket. An address that other machines can reach needs `auth.authenticators`, `auth.file` or `auth.allowAnonymous: true`.',
    verbatim: false,
  } satisfies KeyFacts),
  connections: optionalKey(count(1, 100 * million), 'limits.connections', 'Connections of this listener, in all shards.'),
  connectRate: key(count(0, million), 0, 'New connections per second, in all shards; more are closed at once. 0: no limit.'),
  handshakeTimeout: optionalKey(
    duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
    'limits.connectTimeout',
    'From the accepted connection to its whole CONNECT packet, TLS and WebSocket handshakes included.',
  ),
  packetSize: optionalKey(size(128, 268_435_460), 'limits.packetSize', 'Largest MQTT packet that comes in here; MQTT 5 clients are told.'),
  ...inboundQuota('the clients of this listener, in all shards'),
  allow: key(textList(checkNetwork, 'networks such as [10.0.0.0/8]'), 'all', 'Networks that may connect.', []),
  deny: key(textList(checkNetwork, 'networks such as [10.0.0.0/8]'), 'none', 'Networks that may not, even if `allow` has them.', []),
  tls: z
    .strictObject(tls, {
      error: (issue) =>
        issue.code === 'invalid_type' ? `expected keys with values, such as certificates, not ${show(issue.input)}` : undefined,
    })
    .optional(),
  webSocket: section(webSocket),
  quic: section(quic),
  proxy: section(proxy),
};

/** Types that have a certificate. */
const SECURE: readonly string[] = ['tls', 'wss', 'quic', 'https'];

/** One listener as the file gives it, checked. What is undefined was not written. */
export interface ListenerFile extends InboundQuotaFile {
  readonly type: ListenerType;
  readonly bind: Bind;
  readonly connections?: number | undefined;
  readonly connectRate: number;
  readonly handshakeTimeout?: number | undefined;
  readonly packetSize?: number | undefined;
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly tls?: TlsFile | undefined;
  readonly webSocket: WebSocketSettings;
  readonly quic: Omit<QuicSettings, 'idleTimeoutMilliseconds'> & { readonly idleTimeout: number };
  readonly proxy: { readonly protocol: ListenerSettings['proxyProtocol']; readonly trusted: readonly string[] };
}

interface TlsFile extends Omit<TlsSettings, 'ca' | 'crl' | 'ciphers'> {
  readonly ca?: string | undefined;
  readonly crl?: string | undefined;
  readonly ciphers?: string | undefined;
}

const listener: z.ZodType<ListenerFile, unknown> = z
  .strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? `expected { type: tcp, bind: address:port }, not ${show(issue.input)}` : undefined),
  })
  .check((context) => {
    const { value } = context;
    const wrong = (path: string[], message: string): void => {
      context.issues.push({ code: 'custom', path, message, input: value });
    };
    const isSecure = SECURE.includes(value.type);
    const isPath = value.bind.path !== '';
    if (isPath !== (value.type === 'unix'))
      wrong(
        ['bind'],
        value.type === 'unix' ? 'expected the path of a socket such as /run/onehop.sock' : 'expected address:port such as 127.0.0.1:1883',
      );
    if (isSecure && value.tls === undefined)
      wrong(['tls'], `a ${value.type} listener needs tls: { certificates: [{ chain: server.pem, key: server-key.pem }] }`);
    if (!isSecure && value.tls !== undefined)
      wrong(
        ['tls'],
        `a ${value.type} listener has no TLS; did you mean type: ${value.type === 'ws' ? 'wss' : value.type === 'http' ? 'https' : 'tls'}?`,
      );
    if (value.tls !== undefined && value.tls.verifyClient !== 'none' && value.tls.ca === undefined)
      wrong(['tls', 'ca'], 'expected the file of roots that client certificates must lead to');
    if (value.tls?.crl !== undefined && value.tls.ca === undefined)
      wrong(['tls', 'crl'], 'a list of revoked certificates needs ca and verifyClient');
    if (value.proxy.protocol !== 'none' && value.type === 'quic') wrong(['proxy', 'protocol'], 'there is no PROXY protocol for QUIC');
    if (value.proxy.protocol !== 'none' && value.type.startsWith('http'))
      wrong(['proxy', 'protocol'], 'a request does not say which connection it came over: HTTP listeners have no PROXY protocol');
  });

/** The list of them. */
export const listeners: z.ZodType<readonly ListenerFile[], unknown> = z
  .array(listener, { error: (issue) => `expected a list such as [{ type: tcp, bind: 127.0.0.1:1883 }], not ${show(issue.input)}` })
  .min(1, { error: 'expected at least one listener' })
  .max(LISTENERS_MAX, { error: `expected at most ${LISTENERS_MAX} listeners` })
  .prefault([{ type: 'tcp', bind: '127.0.0.1:1883' } as never])
  .meta({
    type: 'list of listeners',
    default: '[{ type: tcp, bind: 127.0.0.1:1883 }]',
    text: 'Where clients connect, and over what. The keys of a listener are below.',
    verbatim: false,
  } satisfies KeyFacts);

/** Keys of one listener for the manual, by their path in it. */
export function listenerKeys(): readonly (KeyFacts & { readonly path: string })[] {
  const sections: Record<string, Record<string, z.ZodType>> = { tls, webSocket, quic, proxy };
  return Object.entries(shape).flatMap(([name, schema]) => {
    const inner = sections[name];
    if (inner === undefined) return [{ ...(schema.meta() as unknown as KeyFacts), path: name }];
    return Object.entries(inner).map(([part, one]) => ({ ...(one.meta() as unknown as KeyFacts), path: `${name}.${part}` }));
  });
}

/** `address:port`, or the path of a Unix socket. */
export function placeOf(listener: { readonly type: string; readonly bind: Bind } | ListenerSettings): string {
  const { host, port, path } = 'bind' in listener ? listener.bind : listener;
  if (path !== '') return path;
  return addressName(host, port);
}

/** In the names and units of `Settings`. @param limits of the process, which hold where the listener says nothing */
export function listenerSettings(
  file: ListenerFile,
  limits: { readonly connections: number; readonly connectTimeout: number; readonly packetSize: number },
): ListenerSettings {
  const { type, bind: at, tls: secure, webSocket: ws, quic: settings } = file;
  return {
    type,
    ...at,
    connections: file.connections ?? limits.connections,
    connectRate: file.connectRate,
    handshakeTimeoutMilliseconds: file.handshakeTimeout ?? limits.connectTimeout,
    packetBytes: file.packetSize ?? limits.packetSize,
    allow: file.allow,
    deny: file.deny,
    proxyProtocol: file.proxy.protocol,
    trustedProxies: file.proxy.trusted,
    tls: secure === undefined ? null : tlsSettings(secure),
    webSocket: type === 'ws' || type === 'wss' ? ws : null,
    quic: type === 'quic' ? quicSettings(settings) : null,
  };
}

function tlsSettings(file: TlsFile): TlsSettings {
  const { certificates, verifyClient, ca, crl, minVersion, ciphers } = file;
  return { certificates, verifyClient, ca: ca ?? '', crl: crl ?? '', minVersion, ciphers: ciphers ?? '' };
}

function quicSettings(file: ListenerFile['quic']): QuicSettings {
  const { idleTimeout, ...same } = file;
  return { ...same, idleTimeoutMilliseconds: idleTimeout };
}
