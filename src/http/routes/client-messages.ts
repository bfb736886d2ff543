/**
 * Writing to devices: messages to one client, or to many, whatever they have subscribed to.
 */
import { z } from 'zod';
import type { Call } from '../call.ts';
import { ClientMessage } from '../client-message.ts';
import { once, type Replier } from '../idempotency.ts';
import {
  CONFIRM_MILLISECONDS,
  clientMessageQuery,
  NO_BYTES,
  readClientMessageQuery,
  takeTraceContext,
  takeUserPropertyHeader,
} from '../message-input.ts';
import { clientMessagesSchema, type JsonClientMessages, messageOfJson } from '../message-json.ts';
import { Problem, type ProblemCode } from '../problem.ts';
import { type Answer, LATER, type Route, route } from '../route.ts';
import { inSlices } from '../slices.ts';
import { IDEMPOTENCY_FACT, printOf, TRACE_CONTEXT_FACT } from './publish.ts';

const GROUP = 'Writing to devices';
/** A request that waits for a client gets its own answer before the door's. */
const SLACK_MILLISECONDS = 2000;
/** Payload bytes times clients of one request: each may need a copy of its own. */
const COPIES_BYTES_MAX = 16 * 1024 * 1024;
const CLIENT_ID_BYTES_MAX = 65_535;

const STATUSES = ['delivered', 'queued', 'mailbox'] as const;
const PROBLEMS: readonly ProblemCode[] = [
  'no-session',
  'offline',
  'dropped',
  'expired',
  'session-ended',
  'too-large',
  'unprocessable',
  'quota-exceeded',
  'too-many-requests',
  'conflict',
  'not-implemented',
  'store-degraded',
  'timeout',
];

function mustHaveP2p({ shard }: Call): void {
  if (!shard.settings.p2p.enabled) throw new Problem('not-implemented', 'messages to single clients are switched off: see p2p.enabled');
}

/** One result among many: what its own request would have been answered. */
class OneOfMany implements Replier {
  private readonly clientId: string;
  private readonly done: (result: object) => void;

  constructor(clientId: string, done: (result: object) => void) {
    this.clientId = clientId;
    this.done = done;
  }

  answer({ status, body }: Answer): void {
    this.done(status < 400 ? (body as object) : { clientId: this.clientId, problem: body });
  }
}

function sendToMany(call: Call, many: JsonClientMessages, reply: Replier): null {
  const { shard, caller } = call;
  const input = messageOfJson(many);
  takeTraceContext(input, call);
  input.confirm = many.confirm;
  input.timeoutMilliseconds = many.timeoutMilliseconds ?? CONFIRM_MILLISECONDS;
  input.onlyConnected = many.ifOnline;
  const { clientIds } = many;
  if (input.payload.length * clientIds.length > COPIES_BYTES_MAX)
    throw new Problem('too-large', `payload bytes times clients may be ${COPIES_BYTES_MAX}`);
  if (input.confirm) call.mayTake(input.timeoutMilliseconds + SLACK_MILLISECONDS);
  const results = new Array<object>(clientIds.length);
  let missing = clientIds.length;
  const sent: ClientMessage[] = [];
  inSlices(
    shard,
    clientIds.length,
    (index) => {
      const one = new OneOfMany(clientIds[index]!, (result) => {
        results[index] = result;
        if (--missing === 0) reply.answer({ status: 200, body: { results } });
      });
      const message = new ClientMessage(shard, caller!, clientIds[index]!, input, one);
      if (input.confirm) sent.push(message);
      message.send();
      return undefined;
    },
    () => {
      input.payload = NO_BYTES;
    },
  );
  if (input.confirm && reply === call)
    call.gone = () => {
      for (const message of sent) message.forget();
    };
  return LATER;
}

export const clientMessageRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/clients/{clientId}/messages',
    name: 'sendToClient',
    group: GROUP,
    summary: 'Send a message to one client',
    description:
      'The body is the payload, as it is. The client gets it without a subscription. With `confirm=true` the answer comes when the client has acknowledged it; when it does not in time, the message still waits for it as any other.',
    role: 'service',
    params: z.object({
      clientId: z
        .string()
        .min(1)
        .refine((id) => !id.includes('\0') && Buffer.byteLength(id) <= CLIENT_ID_BYTES_MAX, 'expected a Client Identifier'),
    }),
    query: clientMessageQuery,
    readQuery: readClientMessageQuery,
    headers: ['x-mqtt-user-property', 'idempotency-key', 'traceparent'],
    headerFacts: {
      'X-MQTT-User-Property': '`key=value`, several separated by commas, percent-encoded.',
      'Idempotency-Key': IDEMPOTENCY_FACT,
      traceparent: TRACE_CONTEXT_FACT,
    },
    body: 'bytes',
    problems: PROBLEMS,
    answers: {
      200: {
        description: 'With `confirm`: the client has acknowledged it.',
        schema: z.object({ clientId: z.string(), status: z.literal('acknowledged'), milliseconds: z.int() }),
      },
      202: {
        description: 'Sent to the connected client, waiting in its session, or in its mailbox until it connects for the first time.',
        schema: z.object({ clientId: z.string(), status: z.enum(STATUSES) }),
      },
    },
    example: { params: { clientId: 'dev-1' }, query: { topic: 'cmd/reboot', qos: '1' }, body: 'now' },
    handle: (call, { params, query, body }) => {
      mustHaveP2p(call);
      const header = call.header('x-mqtt-user-property');
      if (header !== '') takeUserPropertyHeader(query, header);
      takeTraceContext(query, call);
      if (query.confirm) call.mayTake(query.timeoutMilliseconds + SLACK_MILLISECONDS);
      return once(call, body, (reply, bytes) => {
        query.payload = bytes;
        const message = new ClientMessage(call.shard, call.caller!, params.clientId, query, reply);
        // Who repeats a request with a key wants to hear of it then.
        if (reply === call) call.gone = () => message.forget();
        message.send();
        // It is on its way, and has been copied; the request may wait minutes for the client.
        query.payload = NO_BYTES;
        return LATER;
      });
    },
  }),
  route({
    method: 'POST',
    path: '/v1/clients/messages',
    name: 'sendToClients',
    group: GROUP,
    summary: 'Send a message to up to 1,000 clients',
    description:
      'Each client has a result of its own. With `confirm` the answer comes when all have one, at the latest when the time is over.',
    role: 'service',
    headers: ['idempotency-key', 'traceparent'],
    headerFacts: { 'Idempotency-Key': IDEMPOTENCY_FACT, traceparent: TRACE_CONTEXT_FACT },
    body: clientMessagesSchema,
    problems: ['conflict', 'not-implemented', 'timeout'],
    answers: {
      200: {
        description: 'What became of each: a status, or a problem.',
        schema: z.object({
          results: z.array(
            z.object({
              clientId: z.string(),
              status: z.enum([...STATUSES, 'acknowledged']).optional(),
              milliseconds: z.int().optional(),
              problem: z.object({}).loose().optional(),
            }),
          ),
        }),
      },
    },
    example: { body: { clientIds: ['dev-1', 'dev-2'], topic: 'cmd/reboot', payload: 'now', qos: 1 } },
    handle: (call, { body }) => {
      mustHaveP2p(call);
      return once(
        call,
        () => printOf(body),
        (reply) => sendToMany(call, body, reply),
      );
    },
  }),
];
