/**
 * Subscribing: messages as Server-Sent Events, for browsers and scripts.
 */
import { z } from 'zod';
import { ReasonCode, reasonName } from '../../protocol/reason-code.ts';
import { connectInner, subscribeInner } from '../../shard/inner-client.ts';
import type { Call, HttpStream } from '../call.ts';
import { EventStream, event } from '../event-stream.ts';
import { Problem, problem } from '../problem.ts';
import { type Answer, LATER, type Route, route } from '../route.ts';

const FILTERS_MAX = 32;
const SUBACK_ID = 1;

/** Why a filter cannot be had. */
function refusal(code: number, filter: string): Answer {
  const more = { reasonCode: code, filter: filter.slice(0, 256) };
  const detail = `${filter.slice(0, 256)}: ${reasonName(code)}`;
  switch (code) {
    case ReasonCode.NotAuthorized:
      return problem('forbidden', detail, more);
    case ReasonCode.QuotaExceeded:
      return problem('quota-exceeded', detail, more);
    default:
      return problem('bad-request', detail, more);
  }
}

function begin(call: Call, filters: readonly string[], codes: readonly number[], clientId: string): HttpStream | null {
  // Whoever has asked is gone, or was told that it takes too long.
  if (call.isOver) return null;
  if (codes.length === 0) {
    call.answer(problem('unavailable', 'the broker has ended the connection'));
    return null;
  }
  const refused = codes.findIndex((code) => code >= 0x80);
  if (refused >= 0) {
    call.answer(refusal(codes[refused]!, filters[refused]!));
    return null;
  }
  try {
    const stream = call.stream('text/event-stream');
    stream.write(event('subscribed', { clientId, filters: filters.map((filter, index) => ({ filter, qos: codes[index] })) }));
    return stream;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    call.answer(error.answer);
    return null;
  }
}

function subscribe(call: Call, filters: readonly string[], qos: number): Answer | null {
  const { shard, caller } = call;
  const { session, identity, peer } = caller!.connection;
  const facts = { judgedAs: session!.clientId, username: session!.username, identity: identity!, peer };
  let clientId = '';
  const channel = new EventStream(shard, (codes) => begin(call, filters, codes, clientId));
  const connection = connectInner(shard, channel, facts);
  if (connection === ReasonCode.NotAuthorized) return problem('forbidden', 'the statements of this broker do not let you connect');
  if (typeof connection === 'number') return problem('unavailable', 'the broker takes no more clients now: see limits and quotas.groups');
  channel.connection = connection;
  ({ clientId } = connection.session!);
  call.gone = () => channel.lost();
  const entries = filters.map((filter) => ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }));
  subscribeInner(connection, SUBACK_ID, entries);
  return LATER;
}

export const subscribeRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/subscribe',
    name: 'subscribe',
    group: 'Subscribing',
    summary: 'Messages as Server-Sent Events',
    description:
      'First an event `subscribed`, then one `message` for each message: `{ topic, payload | payloadBase64, qos, retain, properties }`, Retained Messages among them. `: dropped n` says that the reader was too slow for so many messages of QoS 0. An event `end` tells why the broker ends the stream.',
    role: 'service',
    query: z.strictObject({
      filter: z
        .union([z.string(), z.array(z.string()).max(FILTERS_MAX)], { error: `give 1 to ${FILTERS_MAX} filters, each as filter=…` })
        .describe(`Topic Filter; up to ${FILTERS_MAX}, each as a parameter of its own. Shared ones too.`),
      qos: z.enum(['0', '1', '2']).default('0').describe('Highest QoS.'),
    }),
    problems: ['quota-exceeded', 'timeout'],
    answers: { 200: { description: 'Events without end.', type: 'text/event-stream' } },
    example: { query: { filter: 'plant/#' } },
    handle: (call, { query }) => subscribe(call, typeof query.filter === 'string' ? [query.filter] : query.filter, Number(query.qos)),
  }),
];
