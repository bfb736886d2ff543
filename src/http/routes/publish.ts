/**
 * Publishing: one message to a topic, and batches.
 */
import { z } from 'zod';
import type { PendingAck, Told } from '../../shard/outcome.ts';
import { publishFor, TOLD_LATER } from '../../shard/publish-for.ts';
import type { Shard } from '../../shard/shard.ts';
import type { Call } from '../call.ts';
import { once, type Replier } from '../idempotency.ts';
import { type MessageInput, publishQuery, readPublishQuery, takeTraceContext, takeUserPropertyHeader } from '../message-input.ts';
import { batchSchema, checkedMessage, type JsonMessage, messageOfJson, readBatch } from '../message-json.ts';
import { Problem, problem } from '../problem.ts';
import { isSuccess, publishAnswer, publishProblem } from '../publish-outcome.ts';
import { type Answer, LATER, type Route, route } from '../route.ts';
import { inSlices } from '../slices.ts';

const GROUP = 'Publishing';
export const IDEMPOTENCY_FACT =
  'A name for this request: when it comes again with the same one within a day, it is not done again, and answered alike.';

export const TRACE_CONTEXT_FACT =
  'W3C Trace Context: becomes the User Property of that name, where the broker sends traces (`tracing.otlp`).';

const NOBODY: Told = { complete: () => {} };

/** A message of QoS 1 or 2 that waits for other shards or the disk. */
class PublishReply implements Told {
  private readonly shard: Shard;
  private readonly topic: string;
  private readonly reply: Replier;

  constructor(shard: Shard, topic: string, reply: Replier) {
    this.shard = shard;
    this.topic = topic;
    this.reply = reply;
  }

  complete(ack: PendingAck): void {
    this.reply.answer(publishAnswer(this.shard, this.topic, ack.reason, ack.worst));
  }
}

function publish(call: Call, input: MessageInput, reply: Replier): Answer | null {
  const { shard, caller } = call;
  const code = publishFor(shard, caller!.connection, input, input.qos === 0 ? NOBODY : new PublishReply(shard, input.topic, reply));
  return code === TOLD_LATER ? LATER : publishAnswer(shard, input.topic, code, code < 0 ? 0 : shard.outcome.worst);
}

const resultSchema = z.object({ reasonCode: z.int(), problem: z.object({}).loose().optional() });

/** The results of a batch, in the order of its messages. */
class Batch {
  readonly results: object[];
  private missing: number;
  private readonly shard: Shard;
  private readonly messages: readonly JsonMessage[];
  private readonly reply: Replier;

  constructor(shard: Shard, messages: readonly JsonMessage[], reply: Replier) {
    this.results = new Array<object>(messages.length);
    this.missing = messages.length;
    this.shard = shard;
    this.messages = messages;
    this.reply = reply;
  }

  take(index: number, code: number, worst: number): void {
    this.results[index] = isSuccess(code)
      ? { reasonCode: code }
      : {
          reasonCode: code < 0 ? 0x97 : code,
          problem: publishProblem(this.shard, this.messages[index]!.topic, code, worst).body,
        };
    if (--this.missing === 0) this.reply.answer({ status: 200, body: { results: this.results } });
  }
}

class BatchedMessage implements Told {
  private readonly batch: Batch;
  private readonly index: number;

  constructor(batch: Batch, index: number) {
    this.batch = batch;
    this.index = index;
  }

  complete(ack: PendingAck): void {
    this.batch.take(this.index, ack.reason, ack.worst);
  }
}

function publishBatch(call: Call, messages: readonly JsonMessage[], reply: Replier): null {
  const { shard, caller } = call;
  const batch = new Batch(shard, messages, reply);
  const checked: MessageInput[] = [];
  const check = (index: number): boolean => {
    try {
      const input = messageOfJson(checkedMessage(messages[index], index));
      takeTraceContext(input, call);
      checked.push(input);
      return true;
    } catch (error) {
      // Not thrown on: in a later turn nobody would catch it.
      reply.answer(error instanceof Problem ? error.answer : problem('internal', `message ${index} could not be read`));
      return false;
    }
  };
  const publishOne = (index: number): undefined => {
    const code = publishFor(shard, caller!.connection, checked[index]!, new BatchedMessage(batch, index));
    if (code !== TOLD_LATER) batch.take(index, code, code < 0 ? 0 : shard.outcome.worst);
  };
  // A message that is wrong keeps all of them back, so nothing is published before the last is read.
  inSlices(shard, messages.length, check, () => inSlices(shard, messages.length, publishOne));
  return LATER;
}

export const publishRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/topics/{topic...}',
    name: 'publish',
    group: GROUP,
    summary: 'Publish a message',
    description:
      'The topic is the rest of the path; its slashes may stand as they are. The body is the payload, as it is. QoS 1 and 2 are answered when every shard that has receivers has the message, and, for those that must not lose it, the disk. `reasonCode` 16 says that nobody has subscribed to the topic.',
    role: 'service',
    query: publishQuery,
    readQuery: readPublishQuery,
    headers: ['x-mqtt-user-property', 'idempotency-key', 'traceparent'],
    headerFacts: {
      'X-MQTT-User-Property': '`key=value`, several separated by commas, percent-encoded.',
      'Idempotency-Key': IDEMPOTENCY_FACT,
      traceparent: TRACE_CONTEXT_FACT,
    },
    body: 'bytes',
    problems: ['unprocessable', 'quota-exceeded', 'too-many-requests', 'conflict', 'store-degraded', 'timeout'],
    answers: { 200: { description: 'Published.', schema: z.object({ status: z.literal('ok'), reasonCode: z.int() }) } },
    example: { params: { topic: 'plant/7/temperature' }, query: { qos: '1' }, body: '21.5' },
    handle: (call, { params, query, body }) => {
      query.topic = params['topic']!;
      const header = call.header('x-mqtt-user-property');
      if (header !== '') takeUserPropertyHeader(query, header);
      takeTraceContext(query, call);
      return once(call, body, (reply, bytes) => {
        query.payload = bytes;
        return publish(call, query, reply);
      });
    },
  }),
  route({
    method: 'POST',
    path: '/v1/publish',
    name: 'publishBatch',
    group: GROUP,
    summary: 'Publish up to 1,000 messages',
    description:
      'They are published in their order, and each has a result of its own; one that is refused does not keep the others back. One that is no message keeps all of them back. Together they may have 10,000 User Properties.',
    role: 'service',
    headers: ['idempotency-key', 'traceparent'],
    headerFacts: { 'Idempotency-Key': IDEMPOTENCY_FACT, traceparent: TRACE_CONTEXT_FACT },
    body: batchSchema,
    readBody: readBatch,
    problems: ['conflict', 'timeout'],
    answers: { 200: { description: 'What became of each.', schema: z.object({ results: z.array(resultSchema) }) } },
    example: { body: { messages: [{ topic: 'plant/7/temperature', payload: '21.5', qos: 1 }] } },
    handle: (call, { body }) =>
      once(
        call,
        () => printOf(body),
        (reply) => publishBatch(call, body.messages, reply),
      ),
  }),
];

/** JSON that was read, for the comparison of a repeated request with its first. */
export function printOf(body: object): Uint8Array {
  return Buffer.from(JSON.stringify(body));
}
