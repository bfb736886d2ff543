/**
 * The configuration file's shape: every key with its kind, default and meaning. One object drives validation, defaults, the names of the environment
 * variables and the manual page.
 *
 * This file reads no file and no environment. Keys in the file have no unit in their names where the value carries one (`packetSize: 1MiB`);
 * `toSettings` is the one place where they get the names and units of `Settings`. Invariant: an empty file gives a whole `Settings`.
 */
import { availableParallelism, totalmem } from 'node:os';
import { z } from 'zod';
import type { Settings } from '../base/settings.ts';
import { alarmSettings, alarms } from './alarm-schema.ts';
import { auth, authSettings } from './auth-schema.ts';
import { authorization, authorizationSettings } from './authorization-schema.ts';
import { key, optionalKey, section } from './config-key.ts';
import {
  anyOrList,
  choice,
  count,
  countOrAuto,
  duration,
  flag,
  isLoopback,
  type KeyFacts,
  never,
  show,
  size,
  sizeOrAuto,
  text,
} from './config-value.ts';
import { history, historySettings } from './history-schema.ts';
import { http, httpSettings } from './http-schema.ts';
import { listenerSettings, listeners, placeOf } from './listener-schema.ts';
import { metrics, tracing } from './metrics-schema.ts';
import { quotaSettings, quotas } from './quota-schema.ts';

/** One key of the file, for the manual and for overrides. */
export interface ConfigKey extends KeyFacts {
  /** Dotted, such as `limits.packetSize`. */
  readonly path: string;
  /** Environment variable that overrides it, such as `ONEHOP_LIMITS__PACKET_SIZE`. */
  readonly env: string;
}

/** One thing that is wrong: the path of the key (empty for the whole file) and half a sentence. */
export interface ConfigIssue {
  readonly path: readonly string[];
  readonly message: string;
}

const million = 1_000_000;
/** Compiling a parser for what is parsed once took 25 ms of a start, of 40. */
const ONCE = { jitless: true };
const packetBytesMax = 268_435_460;
const shardsMax = 31;

/** Memory that this process may use: the machine's, or its container's when that is less. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

function checkName(value: string): string | undefined {
  return value.length > 256 ? 'expected at most 256 characters' : undefined;
}

function checkPath(value: string): string | undefined {
  return value === '' || value.includes('\0') ? `expected a directory such as ./onehop-data, not ${show(value)}` : undefined;
}

function checkPathOrNone(value: string): string | undefined {
  return value === '' ? undefined : checkPath(value);
}

function checkParent(value: string): string | undefined {
  return /^[^$/+#\0][^/+#\0]*$/.test(value) ? undefined : `expected one topic level without $, / and wildcards, not ${show(value)}`;
}

function checkTemplate(value: string): string | undefined {
  const rest = value.replace(/\{(topic|first|clientId|publisher)\}/g, '');
  if (value === '' || /[{}]/.test(rest))
    return `expected a topic with {topic}, {first}, {clientId} or {publisher} in it, not ${show(value)}`;
  return /[+#\0]/.test(rest) ? `expected a topic without wildcards, not ${show(value)}` : undefined;
}

const root = z.strictObject(
  {
    listeners,
    shards: key(
      countOrAuto(1, shardsMax, () => Math.min(shardsMax, availableParallelism())),
      'auto',
      'Worker threads that accept and own clients. `auto`: one for each processor that the process may use, at most 31. More shards than processors cost and gain nothing.',
    ),
    node: optionalKey(
      text(checkName),
      'address:port of the first listener',
      'Name of this process in `$events/…`. Set it when several brokers report to one place.',
    ),
    auth,
    authorization,
    quotas,
    mqtt: section({
      maximumQos: key(choice(0, 1, 2), 2, 'Highest QoS that clients may publish with and are granted.'),
      retainAvailable: key(flag(), true, 'Whether retained messages are kept.'),
      wildcardSubscriptionAvailable: key(flag(), true, 'Whether filters may hold `+` and `#`.'),
      subscriptionIdentifierAvailable: key(flag(), true, 'Whether MQTT 5 clients may number their subscriptions.'),
      sharedSubscriptionAvailable: key(flag(), true, 'Whether `$share/group/filter` may be subscribed.'),
      sharedStrategy: key(
        choice('round-robin', 'random', 'sticky', 'hash-client-id', 'hash-topic'),
        'round-robin',
        'Which member of a shared subscription gets a message: each in turn, any, the same one while it stays, one by the publisher’s client ID, one by the topic. The hashes keep the order of one publisher or one topic.',
      ),
      topicAliasMaximum: key(
        count(0, 65_535),
        32,
        'Topic aliases that a client may use towards the broker; 0 forbids them. Each used alias holds one topic in memory, so the number is small; devices rarely publish to more topics.',
      ),
      outboundTopicAliasMaximum: key(
        count(0, 65_535),
        32,
        'Topic aliases that the broker uses towards a client that allows them; the smaller number counts. 0 uses none.',
      ),
      topicAliasBytes: key(
        size(0, Number.MAX_SAFE_INTEGER),
        '64KiB',
        'Bytes of topics that the aliases of one connection may stand for, in each direction. A client that uses more is told Quota exceeded; the broker itself sends further topics in full.',
      ),
      receiveMaximum: key(
        count(1, 65_535),
        1_000,
        'QoS 1 and 2 messages that an MQTT 5 client may have unacknowledged towards the broker. Only QoS 2 costs memory here: two bytes each.',
      ),
      serverKeepAlive: key(
        duration({ unit: 'seconds', min: 0, max: 65_535 }),
        '0s',
        'Longest Keep Alive. A client that asks for more, or for none, is told this one. 0 leaves it to the client; mobile fleets set it to a little less than the idle time of their network’s address translation.',
      ),
      responseInformation: key(
        text(checkName),
        '',
        'Response Information for clients that ask for it; `{clientId}` is replaced. Empty: none is sent.',
      ),
      sysInterval: key(
        duration({ unit: 'seconds', min: 0, max: 86_400, never: 0 }),
        '10s',
        'How often `$SYS/broker/…` is published. `never` or 0: not at all.',
      ),
      events: key(flag(), true, 'Whether `$events/…` is published. Costs nothing while nobody subscribes.'),
    }),
    limits: section({
      packetSize: key(
        size(128, packetBytesMax),
        '1MiB',
        'Largest MQTT packet, in and out, headers included; MQTT 5 clients are told. A larger one must be held in memory whole, for each sender at once.',
      ),
      // The trees are walked by one call for each level: 5,000 levels still fit on a thread's stack, 8,000 did not on that of the main thread.
      topicLevels: key(count(1, 2_000), 128, 'Levels of a topic or filter. Bounds the work for one match.'),
      clientIdSize: key(
        size(23, 65_535),
        1_024,
        'Longest client ID, in bytes of UTF-8. The standard allows 65535; IDs are kept for every session and copied into events, and 1024 holds any certificate name or several UUIDs.',
      ),
      subscriptionsPerClient: key(
        count(1, 10 * million),
        1_000,
        'Subscriptions of one session. A further one is refused with Quota exceeded.',
      ),
      inflight: key(
        count(1, 65_535),
        256,
        'QoS 1 and 2 messages sent to a client and not yet acknowledged; an MQTT 5 client may lower it with Receive Maximum. 256 feeds a backend 10 ms away with 25,000 messages per second, and keeps what is sent again after a broken connection short.',
      ),
      queueMessages: key(
        count(0, 100 * million),
        1_000,
        'Messages that wait in one session for its window or its return. A device that was away wants the last commands, not a day of telemetry.',
      ),
      queueBytes: key(
        size(0, Number.MAX_SAFE_INTEGER),
        '16MiB',
        'Bytes that wait in one session. Sixteen of the largest packets; reached long after `queueMessages` with ordinary ones.',
      ),
      outboundBytes: key(
        size(1_024, 2 ** 31),
        '1MiB',
        'Bytes written to a connection that the network has not taken yet. Above it QoS 0 is dropped, and QoS 1 and 2 wait in the queue: a slow client costs itself, not others.',
      ),
      sessionExpiry: key(
        duration({ unit: 'seconds', min: 0, never }),
        'never',
        'Ceiling of Session Expiry Interval; a client that asks for more is told this one. `never` is no ceiling. Fleets whose clients come and go under new IDs set days here, so that `sessions` does not fill.',
      ),
      connections: key(
        count(1, 100 * million),
        million,
        'Connections of the process. The operating system’s limit of open files (`ulimit -n`) must be higher.',
      ),
      sessions: key(
        count(1, 1_000 * million),
        2 * million,
        'Sessions of the process, connected or not. A further client ID is refused with Quota exceeded.',
      ),
      takeoversPerMinute: key(
        count(0, million),
        20,
        'How often in a minute one client ID may be taken from a connection by another. Two devices with one ID throw each other out for ever; beyond this number the newcomer is refused with Connection rate exceeded. 0: no limit.',
      ),
      connectTimeout: key(
        duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
        '10s',
        'From the accepted connection to its whole CONNECT packet. A slow mobile network needs seconds; strangers that say nothing shall not stay.',
      ),
      queuedBytesTotal: key(
        sizeOrAuto(2 ** 20, () => Math.floor(memoryBytes() / 4)),
        'auto',
        'Bytes that wait in the queues of all sessions, in all mailboxes, and in flight to sessions that outlive their connection; what waits in connections has a limit of its own. `auto`: a quarter of the memory of the machine, or of the container when that is less. The broker refuses messages before the system kills it.',
      ),
      retainedMessages: key(count(0, 1_000 * million), million, 'Retained messages. A further topic is refused with Quota exceeded.'),
      retainedBytes: key(size(0, Number.MAX_SAFE_INTEGER), '256MiB', 'Bytes of all retained messages.'),
      ringBytes: key(
        size(2 ** 14, 2 ** 28, true),
        '1MiB',
        'Capacity of the ring from one shard to another; there are shards × (shards − 1) of them. Ten thousand small messages are more than one turn of a busy shard writes.',
      ),
    }),
    queue: section({
      qos0: key(flag(), false, 'Keep QoS 0 messages for a session that is offline, and not only QoS 1 and 2.'),
      overflow: key(
        choice('refuse', 'drop-oldest'),
        'refuse',
        'What a full session queue does with a new message. `refuse`: the message is refused, and a P2P sender is told. `drop-oldest`: the oldest makes room.',
      ),
    }),
    store: section({
      enabled: key(
        flag(),
        true,
        'Whether sessions that outlive their connection, their messages, retained messages and mailboxes survive the process. `false`: they live in memory.',
      ),
      path: key(
        text(checkPath),
        './onehop-data',
        'Directory of the store; made when it is not there. A relative path starts at the configuration file, or without one at the working directory.',
      ),
      backups: key(
        text(checkPathOrNone),
        './onehop-backups',
        'Directory for copies of the store that are made through the API; made when it is first needed. Empty: the API makes none.',
      ),
      durability: key(
        choice('fsync', 'os', 'none'),
        'fsync',
        'What an acknowledgement waits for. `fsync`: the disk has it, a power cut loses nothing. `os`: the operating system has it, the death of the process loses nothing. `none`: nothing; a crash may lose the last moments.',
      ),
      onCorruption: key(
        choice('stop', 'salvage'),
        'stop',
        'What a start does when the store is damaged. `stop`: say what is damaged and end. `salvage`: put the damaged file aside and go on with everything before the damage.',
      ),
    }),
    p2p: section({
      enabled: key(flag(), true, 'Whether `{first}/p2p/{clientId}` addresses a client.'),
      parents: key(
        anyOrList(checkParent),
        '*',
        "First levels that make a topic a P2P address: `'*'` for every one, or a list. A topic with another first level is an ordinary topic.",
      ),
      topicTemplate: key(
        text(checkTemplate),
        '{topic}',
        'Topic that receivers see. `{topic}`, `{first}`, `{clientId}` and `{publisher}` are replaced. For client libraries that drop messages on topics that they did not subscribe to.',
      ),
      maxTargets: key(count(1, 10_000), 100, '`p2p-target` User Properties on one message. Bounds what one PUBLISH can cause.'),
      missesPerMinute: key(
        count(0, million),
        1_000,
        'P2P messages of one connection to clients that have no session, in a minute, before its further P2P messages are refused with Quota exceeded until the minute is over. Who guesses client IDs learns few. 0: no limit.',
      ),
      mailbox: section({
        enabled: key(
          flag(),
          false,
          'Keep QoS 1 and 2 messages for client IDs that have no session, until they connect for the first time.',
        ),
        ttl: key(duration({ unit: 'seconds', min: 1, never }), '1d', 'How long a mailbox keeps a message.'),
        maxMessages: key(count(1, 10 * million), 100, 'Messages in one mailbox.'),
        maxBytes: key(size(1, Number.MAX_SAFE_INTEGER), '1MiB', 'Bytes in one mailbox.'),
        maxMailboxes: key(
          count(1, 1_000 * million),
          100_000,
          'Mailboxes of the process. Anyone who may publish can name any client ID, so this bounds what a wrong or hostile sender fills.',
        ),
      }),
    }),
    history,
    http,
    metrics,
    tracing,
    alarms,
    log: section({
      level: key(
        choice('trace', 'debug', 'info', 'warn', 'error', 'silent'),
        'info',
        'Lowest level that is logged. No level logs a line for each message.',
      ),
    }),
    shutdown: section({
      timeout: key(
        duration({ unit: 'milliseconds', min: 0, max: 3_600_000 }),
        '10s',
        'How long a stop waits for bytes on their way before it closes what is left. Containers are killed 10 s (Docker) or 30 s (Kubernetes) after they are asked to stop.',
      ),
    }),
  },
  {
    error: (issue) =>
      issue.code === 'invalid_type' ? `expected keys with values, such as listeners, not ${show(issue.input)}` : undefined,
  },
);

/** The file's values in the names and units of `Settings`. */
function toSettings(file: z.output<typeof root>): Settings {
  const { mqtt, limits, p2p } = file;
  const first = file.listeners[0]!;
  const { serverKeepAlive, sysInterval, ...mqttSame } = mqtt;
  const { packetSize, clientIdSize, sessionExpiry, connectTimeout, ...limitsSame } = limits;
  const { ttl, ...mailboxSame } = p2p.mailbox;
  return {
    shards: file.shards,
    node: file.node ?? placeOf(first),
    listeners: file.listeners.map((listener) => listenerSettings(listener, limits)),
    auth: authSettings(file.auth),
    authorization: authorizationSettings(file.authorization),
    quotas: quotaSettings(file.quotas, file.listeners, limits.connections),
    mqtt: { ...mqttSame, serverKeepAliveSeconds: serverKeepAlive, sysIntervalSeconds: sysInterval },
    limits: {
      ...limitsSame,
      packetBytes: packetSize,
      clientIdBytes: clientIdSize,
      sessionExpirySeconds: sessionExpiry,
      connectTimeoutMilliseconds: connectTimeout,
    },
    queue: file.queue,
    store: file.store,
    history: historySettings(file.history),
    p2p: { ...p2p, mailbox: { ...mailboxSame, ttlSeconds: ttl } },
    http: httpSettings(file.http),
    metrics: file.metrics,
    tracing: file.tracing,
    alarms: alarmSettings(file.alarms),
    log: file.log,
    shutdown: { timeoutMilliseconds: file.shutdown.timeout },
  };
}

/** Environment variable of a key: `limits.packetSize` is `ONEHOP_LIMITS__PACKET_SIZE`. */
function envName(path: string): string {
  const words = path.replaceAll('.', '__').replace(/[A-Z]/g, (letter) => `_${letter}`);
  return `ONEHOP_${words.toUpperCase()}`;
}

function collect(shape: object, prefix: string, keys: ConfigKey[], sections: string[]): void {
  for (const [name, schema] of Object.entries(shape) as [string, z.ZodType][]) {
    const path = `${prefix}${name}`;
    const facts = schema.meta() as KeyFacts | undefined;
    const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
    if (facts !== undefined) keys.push({ ...facts, path, env: envName(path) });
    else if (inner instanceof z.ZodObject) {
      sections.push(path);
      collect(inner.shape, `${path}.`, keys, sections);
    }
  }
}

/** Every key in the order of the manual, and the paths of the sections that hold them. */
export function configKeys(): { keys: readonly ConfigKey[]; sections: readonly string[] } {
  const keys: ConfigKey[] = [];
  const sections: string[] = [];
  collect(root.shape, '', keys, sections);
  return { keys, sections };
}

/** Listeners that other machines can reach while nothing authenticates clients and nobody has said that this is meant. */
function openListeners(raw: unknown): ConfigIssue[] {
  const { listeners: list, auth: access } = (raw ?? {}) as {
    listeners?: unknown;
    auth?: { allowAnonymous?: unknown; authenticators?: unknown; file?: unknown };
  };
  const result = listeners.safeParse(list, ONCE);
  const hasAuthenticators = (Array.isArray(access?.authenticators) && access.authenticators.length > 0) || access?.file !== undefined;
  if (access?.allowAnonymous === true || hasAuthenticators || !result.success) return [];
  return result.data.flatMap((entry, index) => {
    if (entry.type === 'unix' || isLoopback(entry.bind.host)) return [];
    const place = placeOf(entry);
    const advice = 'write auth.allowAnonymous: true to open it to everyone, or auth.authenticators or auth.file, or bind to 127.0.0.1';
    return [
      {
        path: ['listeners', String(index), 'bind'],
        message: `other machines can reach ${place} and nothing authenticates clients: ${advice}`,
      },
    ];
  });
}

/**
 * Validates a tree of values as the file gives them.
 * @returns the settings, or every issue that was found
 */
export function readSettings(raw: unknown): { settings: Settings } | { issues: ConfigIssue[] } {
  const result = root.safeParse(raw, ONCE);
  const issues = openListeners(raw);
  if (result.success && issues.length === 0) return { settings: toSettings(result.data) };
  for (const issue of result.error?.issues ?? []) {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') issues.push(...issue.keys.map((name) => ({ path: [...path, name], message: 'unknown key' })));
    else issues.push({ path, message: issue.message });
  }
  return { issues };
}
