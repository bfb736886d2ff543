/**
 * The broker itself: listeners, configuration, log level, store, and who has changed what.
 */
import { z } from 'zod';
import { askSupervisor, isoTime, pageQuery } from '../desk.ts';
import { problem } from '../problem.ts';
import { checked } from '../read-asked.ts';
import { type Route, route } from '../route.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** All of them. */
export function brokerRoutes(): readonly Route[] {
  return [...listenerRoutes(), ...configRoutes(), ...storeRoutes(), auditRoute()];
}

function listenerRoutes(): readonly Route[] {
  const group = 'Listeners';
  const certificate = z.object({
    subject: z.string(),
    issuer: z.string(),
    names: z.array(z.string()),
    beginsAt: isoTime,
    endsAt: isoTime,
    fingerprint: z.string().describe('SHA-256.'),
  });
  const listener = z.object({
    place: z.int(),
    type: z.enum(['tcp', 'tls', 'ws', 'wss', 'quic', 'unix', 'http', 'https']),
    address: z.string(),
    port: z.int(),
    connections: z.int(),
    connectionsMax: z.int(),
    verifyClient: z.enum(['none', 'optional', 'required']).nullable().describe('Null: it has no TLS.'),
    certificates: z.array(certificate),
  });
  const reading = z.object({
    place: z.int(),
    isChanged: z.boolean(),
    error: z.string().nullable().describe('Why they were not read, and the old ones stay.'),
  });
  return [
    route({
      method: 'GET',
      path: '/api/v1/listeners',
      name: 'listListeners',
      group,
      summary: 'Where the broker listens, and with which certificates',
      role: 'viewer',
      answers: { 200: { description: 'All of them.', schema: z.object({ data: z.array(listener) }) } },
      handle: (call) => askSupervisor(call, 'listeners/list', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/listeners/reload-certificates',
      name: 'reloadCertificates',
      group,
      summary: 'Read the certificates of all listeners again',
      description: 'New connections get them. They are read by themselves, too, when their files change.',
      role: 'operator',
      answers: {
        200: { description: 'What has become of each listener with certificates.', schema: z.object({ data: z.array(reading) }) },
      },
      handle: (call) => askSupervisor(call, 'listeners/reload', {}),
    }),
  ];
}

function configRoutes(): readonly Route[] {
  const group = 'Configuration';
  const row = z.object({
    key: z.string(),
    value: z.unknown().describe('As it is written, without secrets; the default where it is not written.'),
    isHidden: z.boolean().describe('Whether something of the value is not told: `***` stands for it.'),
    source: z.string().describe('`default`, `file`, `api`, or the variable or option that it comes from.'),
    isLive: z.boolean().describe('Whether it can be changed here.'),
    needsRestart: z.boolean().describe('Whether a change in the file waits for the restart; others hold with SIGHUP.'),
    type: z.string().describe('What a value may be, in words.'),
    input: z
      .enum(['choice', 'number', 'pairs', 'rate', 'byte-rate', 'text'])
      .describe(
        'How a form asks for it. `choice`: one of `values`. `pairs`: names with texts, which come to those that are there. `rate` and `byte-rate`: one of `values`, or so much in a second, with a burst. `text`: anything else.',
      ),
    values: z.array(z.union([z.string(), z.number(), z.boolean()])),
    default: z.string().describe('As it is written.'),
    text: z.string().describe('What it means.'),
  });
  const config = z.object({
    file: z.string().nullable(),
    data: z.array(row),
    next: z.null(),
    total: z.int(),
  });
  const level = z.strictObject({ level: z.enum(LEVELS) });
  const log = { level: z.enum(LEVELS).nullable().optional() };
  const authorization = { deniedV3: z.enum(['acknowledge', 'close']).nullable().optional() };
  const section = z.record(z.string(), z.unknown()).nullable().optional();
  const sections = { quotas: section, alarms: section, metrics: section, tracing: section };
  const anyPatch = z.looseObject({
    log: z.looseObject(log).optional(),
    authorization: z.looseObject(authorization).optional(),
    ...sections,
  });
  return [
    route({
      method: 'GET',
      path: '/api/v1/config',
      name: 'getConfig',
      group,
      summary: 'Every key of the configuration, its value, and where that comes from',
      role: 'viewer',
      answers: { 200: { description: 'All keys.', schema: config } },
      handle: (call) => askSupervisor(call, 'config/list', {}),
    }),
    route({
      method: 'PATCH',
      path: '/api/v1/config',
      name: 'changeConfig',
      group,
      summary: 'Change what may change while the broker runs',
      description:
        'The body is written as the configuration file is: `{ "quotas": { "client": { "messagesIn": 100 } } }`. null takes a change back, and what is written holds again. A change holds at once, until the restart; what shall stay is written to the file.',
      role: 'admin',
      body: z.strictObject({
        log: z.strictObject(log).optional(),
        authorization: z.strictObject(authorization).optional(),
        ...sections,
      }),
      // What else is asked for is refused by whoever knows which keys there are, and which of them need a restart.
      readBody: (value) => checked(anyPatch, value, 'body'),
      problems: ['unprocessable'],
      answers: { 200: { description: 'All keys as they are now.', schema: config } },
      example: { body: { log: { level: 'info' } } },
      handle: (call, { body }) => {
        // Addresses and headers of services may hold keys: of those only the names are told.
        const { alarms, tracing, ...shown } = body;
        call.facts = { ...shown, ...(alarms && { alarms: Object.keys(alarms) }), ...(tracing && { tracing: Object.keys(tracing) }) };
        const patch = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
        return askSupervisor(call, 'config/change', { patch });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/config',
      name: 'forgetConfigChanges',
      group,
      summary: 'Forget what was changed here: what is written holds again',
      role: 'admin',
      answers: { 200: { description: 'All keys as they are now.', schema: config } },
      handle: (call) => askSupervisor(call, 'config/forget', {}),
    }),
    route({
      method: 'GET',
      path: '/api/v1/log-level',
      name: 'getLogLevel',
      group,
      summary: 'Lowest level that is logged',
      role: 'viewer',
      answers: { 200: { description: 'The level.', schema: level } },
      handle: (call) => askSupervisor(call, 'log-level/read', {}),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/log-level',
      name: 'changeLogLevel',
      group,
      summary: 'Log more, or less, at once and until the restart',
      role: 'operator',
      body: level,
      answers: { 200: { description: 'The level.', schema: level } },
      example: { body: { level: 'info' } },
      handle: (call, { body }) => {
        call.facts = body;
        return askSupervisor(call, 'log-level/change', body);
      },
    }),
  ];
}

function storeRoutes(): readonly Route[] {
  const group = 'Store';
  const backup = z.object({
    state: z.enum(['running', 'done', 'failed']),
    path: z.string(),
    startedAt: isoTime,
    endedAt: isoTime.nullable(),
    records: z.int(),
    of: z.int(),
    bytes: z.int().nullable(),
    error: z.string().nullable(),
  });
  const compaction = z.object({
    state: z.enum(['running', 'done', 'failed']),
    startedAt: isoTime,
    endedAt: isoTime.nullable(),
    copiedBytes: z.int().describe('While it runs.'),
    of: z.int().describe('So many bytes will be copied at least.'),
    bytesBefore: z.int().nullable().describe('Of the file.'),
    bytesAfter: z.int().nullable(),
    records: z.int().nullable(),
    pauseMilliseconds: z.int().nullable().describe('How long commits have waited.'),
    error: z.string().nullable().describe('Why the file is as it was.'),
  });
  const store = z.object({
    isEnabled: z.boolean(),
    path: z.string().optional(),
    durability: z.enum(['fsync', 'os', 'none']).optional(),
    backups: z.string().nullable().optional().describe('Where copies go; null: none are made here.'),
    bytes: z.int().optional().describe('Of the file.'),
    usedBytes: z
      .int()
      .optional()
      .describe('Of the pages of the file that hold records. Much less than `bytes`: `compact` makes the file smaller.'),
    records: z.int().optional(),
    logBytes: z.int().optional(),
    commits: z.int().optional(),
    failures: z.int().optional(),
    isDegraded: z.boolean().optional().describe('It takes nothing now.'),
    lastCommitAt: isoTime.nullable().optional(),
    backup: backup.nullable().optional().describe('The last copy that was made here.'),
    compaction: compaction.nullable().optional().describe('The last time that the file was written anew.'),
  });
  return [
    route({
      method: 'GET',
      path: '/api/v1/store',
      name: 'getStore',
      group,
      summary: 'How the store is',
      role: 'viewer',
      answers: { 200: { description: 'The store.', schema: store } },
      handle: (call) => askSupervisor(call, 'store/read', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/store/backup',
      name: 'backupStore',
      group,
      summary: 'Copy the store, as it is at one moment',
      description:
        'Into a new directory below `store.backups`. Clients notice nothing. A copy that takes longer than some seconds is answered with 202; `GET /api/v1/store` says how far it is.',
      role: 'admin',
      body: z.strictObject({
        path: z
          .string()
          .regex(/^[A-Za-z0-9][\w.-]{0,99}$/, { error: 'expected the name of a directory below store.backups, such as monday-1' })
          .optional()
          .describe('Name of the directory; absent: the time.'),
      }),
      problems: ['not-implemented', 'conflict', 'unprocessable'],
      answers: {
        200: { description: 'It is made, and was read.', schema: backup },
        202: { description: 'It is being made.', schema: backup },
      },
      example: { body: {} },
      handle: (call, { body }) => {
        call.facts = body;
        return askSupervisor(call, 'store/backup', { name: body.path }, (made: z.output<typeof backup>) => {
          if (made.state === 'failed') return { status: 503, body: made };
          return { status: made.state === 'done' ? 200 : 202, body: made };
        });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/store/compact',
      name: 'compactStore',
      group,
      summary: 'Write the file of the store anew, without its free pages',
      description:
        'The file of the store keeps the size that it once needed; this gives back what is free. It is copied while clients go on; at the end acknowledgements wait for some milliseconds, and connections stay. A second file needs room on the disk meanwhile. What takes longer than some seconds is answered with 202; `GET /api/v1/store` says how far it is. Whatever fails leaves the store as it was.',
      role: 'admin',
      body: z.strictObject({
        pauseMillisecondsMax: z
          .int()
          .min(10)
          .max(60_000)
          .default(5000)
          .describe('How long acknowledgements may wait at the end; if it would take longer it is given up, and nothing has changed.'),
      }),
      problems: ['not-implemented', 'conflict', 'unavailable'],
      answers: {
        200: { description: 'It is done.', schema: compaction },
        202: { description: 'It is under way.', schema: compaction },
      },
      example: { body: {} },
      handle: (call, { body }) => {
        call.facts = body;
        return askSupervisor(call, 'store/compact', body, (made: z.output<typeof compaction>) => {
          if (made.error !== null) return problem('unavailable', `the store is as it was: ${made.error}`);
          return { status: made.state === 'done' ? 200 : 202, body: made };
        });
      },
    }),
  ];
}

function auditRoute(): Route {
  const entry = z.object({
    at: isoTime,
    id: z.string().describe('Request ID.'),
    action: z.string().describe('Name of the operation, or `reload` for SIGHUP.'),
    method: z.string(),
    path: z.string(),
    query: z.string(),
    address: z.string(),
    caller: z.string(),
    status: z.int(),
    facts: z.record(z.string(), z.unknown()).optional().describe('What was asked for, without secrets.'),
  });
  return route({
    method: 'GET',
    path: '/api/v1/audit',
    name: 'listAudit',
    group: 'Audit',
    summary: 'Who has changed what, or was not allowed to, the newest first',
    description:
      'The last 1,000 entries; the file `http.auditLog` has more. A change that the caller may not make has the status 403; of these only the first are told, so that nobody fills the log with them.',
    role: 'viewer',
    query: z.strictObject({
      ...pageQuery,
      cursor: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
      caller: z.string().max(256).optional(),
      action: z.string().max(128).optional(),
      refused: z.enum(['true', 'false']).optional().describe('Only changes that were refused, or only those that were made.'),
      from: isoTime.optional(),
      to: isoTime.optional(),
    }),
    answers: { 200: { description: 'A page.', schema: z.object({ data: z.array(entry), next: z.string().nullable() }) } },
    handle: (call, { query }) => {
      const { from, to, refused, ...same } = query;
      return askSupervisor(call, 'audit/list', {
        ...same,
        refused: refused === undefined ? undefined : refused === 'true',
        from: from === undefined ? undefined : Date.parse(from),
        to: to === undefined ? undefined : Date.parse(to),
      });
    },
  });
}
