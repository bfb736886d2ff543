/**
 * What a service may ask of the connection of one client: whether there is one, and another Keep Alive for it. The paths and answers are those of the hosted product.
 */
import { z } from 'zod';
import { NO_QUESTION } from '../../access/target-question.ts';
import { utf8Bytes } from '../../base/bytes.ts';
import { askKeepAlive, askStatus, type KeepAliveAnswer } from '../../shard/client-questions.ts';
import { admitGiven } from '../../shard/quota-check.ts';
import type { Call } from '../call.ts';
import { type ProblemCode, problem } from '../problem.ts';
import { OVER_QUOTA_ANSWER } from '../publish-outcome.ts';
import { type Answer, LATER, type Method, type Route, route } from '../route.ts';

const GROUP = 'Clients';
const INTERVAL_MIN = 30;
const INTERVAL_MAX = 1200;
/** Asks at the rights of a message: who may write to a client may also keep it awake, or let it sleep. */
const QOS_OF_QUESTION = 1;

const UNANSWERED = problem('unavailable', 'the shard of this client does not answer; try again');
const clientId = z.string().min(1).max(65_535);

/** An answer costs as much as a message of QoS 0. */
function isOverQuota({ caller }: Call): boolean {
  const { connection } = caller!;
  return connection.quota !== null && !admitGiven(connection, connection.quota, 0, 0);
}

const DENIED = problem('forbidden', 'the statements do not allow messages to this client, and so no questions about it either');

/** What the client is to be asked about the caller, who must be allowed to write to it. @returns null: the caller is not */
function questionOf({ shard, caller }: Call, id: string): Uint8Array | null {
  const { connection } = caller!;
  if (connection.access === null) return NO_QUESTION;
  const bytes = utf8Bytes(id);
  return shard.authorization.mayPublishTo(connection, bytes, 0, bytes.length, QOS_OF_QUESTION) ? shard.authorization.question : null;
}

function statusRoute(method: Method): Route {
  return route({
    method,
    path: '/client-id/{clientId}/status',
    name: method === 'GET' ? 'getClientStatus' : 'postClientStatus',
    group: GROUP,
    summary: 'Whether a client is connected',
    description:
      'Exact at the time of the answer. Who may not write to the client is not told. To follow many clients, subscribe to `$events/client_connected` and `$events/client_disconnected`.',
    role: 'service',
    params: z.object({ clientId }),
    problems: ['quota-exceeded', 'timeout'],
    answers: { 200: { description: 'Whether it is.', schema: z.object({ online: z.boolean() }) } },
    isChange: false,
    example: { params: { clientId: 'dev-1' } },
    handle: (call, { params }) => {
      if (isOverQuota(call)) return OVER_QUOTA_ANSWER;
      const question = questionOf(call, params.clientId);
      if (question === null) return DENIED;
      askStatus(call.shard, params.clientId, question, (answer) => {
        if (answer === null) call.answer(UNANSWERED);
        else call.answer(answer === 'denied' ? DENIED : { status: 200, body: { online: answer === 'online' } });
      });
      return LATER;
    },
  });
}

const REFUSALS: Readonly<Record<Exclude<KeepAliveAnswer, 'done'>, readonly [code: ProblemCode, detail: string]>> = {
  offline: ['offline', 'the client is not connected'],
  denied: ['forbidden', 'the statements do not allow messages to this client, and so not its Keep Alive either'],
  none: ['conflict', 'the client has connected without a Keep Alive, and does not send what shows that it lives'],
};

function changeKeepAlive(call: Call, id: string, seconds: number): Answer | null {
  if (isOverQuota(call)) return OVER_QUOTA_ANSWER;
  const question = questionOf(call, id);
  if (question === null) return problem(...REFUSALS.denied);
  askKeepAlive(call.shard, id, seconds, question, (answer) => {
    if (answer === null) call.answer(UNANSWERED);
    else if (answer === 'done') call.answer({ status: 200, body: { success: true, keepalive: seconds } });
    else call.answer(problem(...REFUSALS[answer]));
  });
  return LATER;
}

export const clientLinkRoutes: readonly Route[] = [
  statusRoute('GET'),
  statusRoute('POST'),
  route({
    method: 'POST',
    path: '/keep-alive',
    name: 'changeKeepAlive',
    group: GROUP,
    summary: 'Another Keep Alive for a connected client',
    description: 'Holds at once and until the client connects again. A client that has connected with Keep Alive 0 has none.',
    role: 'service',
    query: z.strictObject({
      'client-id': clientId.describe('The client.'),
      interval: z
        .string()
        .regex(/^\d{1,5}$/, 'expected seconds')
        .transform(Number)
        .refine((seconds) => seconds >= INTERVAL_MIN && seconds <= INTERVAL_MAX, `expected ${INTERVAL_MIN} to ${INTERVAL_MAX} seconds`)
        .describe(`Seconds, ${INTERVAL_MIN} to ${INTERVAL_MAX}.`),
    }),
    problems: ['offline', 'conflict', 'quota-exceeded', 'timeout'],
    answers: { 200: { description: 'Changed.', schema: z.object({ success: z.literal(true), keepalive: z.int() }) } },
    example: { query: { 'client-id': 'dev-1', interval: '120' } },
    handle: (call, { query }) => changeKeepAlive(call, query['client-id'], query.interval),
  }),
];
