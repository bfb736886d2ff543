/**
 * Messages as requests give them: in the query and the headers, with the payload as body, or whole in JSON.
 *
 * The query is read by hand: it comes with every message that is published, and a schema would take longer than the broker. Names are those of this API and those of the hosted
 * product. What is not known, or comes twice, is a mistake and said so.
 */
import { z } from 'zod';
import type { GivenMessage } from '../shard/publish-for.ts';
import type { Call } from './call.ts';
import { Problem } from './problem.ts';

export const NO_BYTES: Uint8Array = new Uint8Array(0);
export const EXPIRY_MAX = 0xffffffff;
/** User Properties of one message. */
export const USER_PROPERTIES_MAX = 100;

/** How long a request may wait for a client. */
export const CONFIRM_MILLISECONDS = 10_000;
export const CONFIRM_MILLISECONDS_MAX = 600_000;

/** A message, and what a request to one client asks beside it. */
export class MessageInput implements GivenMessage {
  topic = '';
  payload: Uint8Array = NO_BYTES;
  qos = 1;
  isRetained = false;
  expirySeconds = -1;
  payloadFormat = -1;
  contentType = '';
  responseTopic = '';
  correlationData: Uint8Array | null = null;
  userProperties: (readonly [key: string, value: string])[] = [];
  /** Waits until the client has acknowledged. */
  confirm = false;
  /** How long that may take; 0: nobody has said it. */
  timeoutMilliseconds = 0;
  onlyConnected = false;
}

const CONTEXT = /^[\da-f]{2}(?:-[\da-f]+){3}$/;

/** Names of one value, for "comes twice". */
const SAME: Readonly<Record<string, string>> = {
  retained: 'retain',
  MessageExpiryInterval: 'expiry',
  messageExpiryInterval: 'expiry',
  ContentType: 'contentType',
  ResponseTopic: 'responseTopic',
  CorrelationData: 'correlationData',
  PayloadFormatIndicator: 'payloadFormat',
  payloadFormatIndicator: 'payloadFormat',
  client_id: 'clientId',
};

/** The query of `POST /topics/…`. @throws Problem */
export function readPublishQuery(text: string): MessageInput {
  return readQuery(text, false);
}

/** The query of `POST /v1/clients/…/messages`. @throws Problem */
export function readClientMessageQuery(text: string): MessageInput {
  const input = readQuery(text, true);
  if (input.timeoutMilliseconds > 0 && !input.confirm) throw new Problem('bad-request', 'query.timeout: only with confirm=true');
  if (input.timeoutMilliseconds === 0) input.timeoutMilliseconds = CONFIRM_MILLISECONDS;
  if (input.confirm && input.qos === 0) throw new Problem('bad-request', 'query.confirm: a client acknowledges QoS 1 and 2 only');
  return input;
}

function readQuery(text: string, isForClient: boolean): MessageInput {
  const input = new MessageInput();
  let seen: Set<string> | null = null;
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('&', at);
    if (end < 0) end = text.length;
    if (end > at) {
      const equals = text.indexOf('=', at);
      const nameEnd = equals < 0 || equals > end ? end : equals;
      const given = decoded(text, at, nameEnd);
      const name = SAME[given] ?? given;
      const value = nameEnd === end ? '' : decoded(text, nameEnd + 1, end);
      // The first value cannot have come before.
      if (at > 0 && name !== 'userProperty') {
        seen ??= namesBefore(text, at);
        if (seen.has(name)) throw new Problem('bad-request', `query.${given}: comes more than once`);
        seen.add(name);
      }
      if (!take(input, name, value) && !(isForClient ? takeForClient(input, name, value) : takeRetained(input, name, value)))
        throw new Problem('bad-request', `query.${given.slice(0, 64)}: is not known here`);
    }
    at = end + 1;
  }
  return input;
}

/** Names of one or more values that stand before `end`, for a query with several. */
function namesBefore(text: string, end: number): Set<string> {
  const names = new Set<string>();
  for (const pair of text.slice(0, end).split('&')) {
    const equals = pair.indexOf('=');
    const given = decoded(pair, 0, equals < 0 ? pair.length : equals);
    if (given !== '') names.add(SAME[given] ?? given);
  }
  return names;
}

function decoded(text: string, at: number, end: number): string {
  const part = text.slice(at, end);
  if (!part.includes('%') && !part.includes('+')) return part;
  try {
    return decodeURIComponent(part.replaceAll('+', ' '));
  } catch {
    throw new Problem('bad-request', 'the query is not encoded as UTF-8 with percent signs');
  }
}

/** Takes a value that every message may have. @returns whether there is such a one */
function take(input: MessageInput, name: string, value: string): boolean {
  switch (name) {
    case 'qos':
      if (value !== '0' && value !== '1' && value !== '2') throw wrong(name, '0, 1 or 2');
      input.qos = value.charCodeAt(0) - 0x30;
      return true;
    case 'expiry':
      input.expirySeconds = wholeNumber(name, value, EXPIRY_MAX);
      return true;
    case 'contentType':
      input.contentType = value;
      return true;
    case 'responseTopic':
      input.responseTopic = value;
      return true;
    case 'correlationData':
      input.correlationData = Buffer.from(value);
      return true;
    case 'payloadFormat':
      input.payloadFormat = wholeNumber(name, value, 1);
      return true;
    case 'userProperty': {
      const colon = value.indexOf(':');
      if (colon < 0) throw wrong(name, 'key:value');
      addUserProperty(input, value.slice(0, colon), value.slice(colon + 1));
      return true;
    }
    // Who asks is known by other means; `callers.ts` reads the first, and the name that was proved wins over the second.
    case 'clientId':
    case 'username':
      return true;
    default:
      return false;
  }
}

function takeRetained(input: MessageInput, name: string, value: string): boolean {
  if (name !== 'retain') return false;
  input.isRetained = flag('retained', value);
  return true;
}

/** Takes a value that a message to one client may have. */
function takeForClient(input: MessageInput, name: string, value: string): boolean {
  switch (name) {
    case 'topic':
      if (value === '') throw wrong(name, 'a topic');
      input.topic = value;
      return true;
    case 'confirm':
      input.confirm = flag(name, value);
      return true;
    case 'ifOnline':
      input.onlyConnected = flag(name, value);
      return true;
    case 'timeout': {
      const milliseconds = /^\d{1,6}(?:\.\d{1,3})?$/.test(value) ? Math.round(Number(value) * 1000) : 0;
      if (milliseconds < 1 || milliseconds > CONFIRM_MILLISECONDS_MAX) throw wrong(name, 'seconds, from 0.001 to 600');
      input.timeoutMilliseconds = milliseconds;
      return true;
    }
    default:
      return false;
  }
}

/** User Properties of the header `X-MQTT-User-Property: key=value, key=value`; what may stand nowhere in a header is percent-encoded. @throws Problem */
export function takeUserPropertyHeader(input: MessageInput, header: string): void {
  for (const pair of header.split(',')) {
    const equals = pair.indexOf('=');
    if (equals < 0) throw new Problem('bad-request', 'X-MQTT-User-Property: expected key=value, separated by commas');
    addUserProperty(input, headerText(pair.slice(0, equals)), headerText(pair.slice(equals + 1)));
  }
}

/**
 * The trace that a request is part of goes on in its message: what its header `traceparent` says (W3C Trace Context) becomes the User Property of that name, where the broker sends
 * traces and the message has none.
 */
export function takeTraceContext(input: MessageInput, call: Call): void {
  if (call.shard.otlp === null) return;
  const header = call.header('traceparent');
  if (!CONTEXT.test(header) || input.userProperties.some(([key]) => key === 'traceparent')) return;
  // Not pushed: the list is that of the request's body.
  input.userProperties = [...input.userProperties, ['traceparent', header]];
}

function headerText(text: string): string {
  try {
    return decodeURIComponent(text.trim());
  } catch {
    throw new Problem('bad-request', 'X-MQTT-User-Property: a percent sign stands for itself as %25');
  }
}

function addUserProperty(input: MessageInput, key: string, value: string): void {
  if (input.userProperties.length >= USER_PROPERTIES_MAX)
    throw new Problem('bad-request', `a message has at most ${USER_PROPERTIES_MAX} User Properties here`);
  input.userProperties.push([key, value]);
}

function flag(name: string, value: string): boolean {
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw wrong(name, 'true or false');
}

function wholeNumber(name: string, value: string, max: number): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.POSITIVE_INFINITY;
  if (number > max) throw wrong(name, `a number from 0 to ${max}`);
  return number;
}

function wrong(name: string, expected: string): Problem {
  return new Problem('bad-request', `query.${name}: expected ${expected}`);
}

/** Values of a query that every message may have, for the documents. */
const commonQuery = {
  qos: z.enum(['0', '1', '2']).optional().describe('QoS of the message; default 1.'),
  expiry: z
    .string()
    .regex(/^\d+$/)
    .optional()
    .describe('Seconds after which the message is worth nothing. `MessageExpiryInterval` is the same.'),
  contentType: z.string().optional().describe('MQTT Content Type. `ContentType` is the same.'),
  responseTopic: z.string().optional().describe('Topic for an answer. `ResponseTopic` is the same.'),
  correlationData: z.string().optional().describe('Text that an answer brings back. `CorrelationData` is the same.'),
  payloadFormat: z.enum(['0', '1']).optional().describe('1: the payload is UTF-8, which is checked. `PayloadFormatIndicator` is the same.'),
  userProperty: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('`key:value`; may come more than once.'),
  client_id: z.string().optional().describe('Client Identifier that the statements see.'),
  username: z.string().optional().describe('Ignored: the name that was proved counts.'),
};

export const publishQuery: z.ZodType<MessageInput> = z.strictObject({
  ...commonQuery,
  retained: z.enum(['true', 'false', '1', '0']).optional().describe('Keep it as the Retained Message of its topic. `retain` is the same.'),
}) as unknown as z.ZodType<MessageInput>;

export const clientMessageQuery: z.ZodType<MessageInput> = z.strictObject({
  ...commonQuery,
  topic: z.string().optional().describe('Topic that the client sees; default `{first}/p2p/{clientId}`.'),
  confirm: z.enum(['true', 'false', '1', '0']).optional().describe('Answer when the client has acknowledged the message.'),
  timeout: z.string().optional().describe('Seconds that `confirm` waits, 0.001 to 600; default 10. Only with `confirm=true`.'),
  ifOnline: z
    .enum(['true', 'false', '1', '0'])
    .optional()
    .describe('409 `offline`, or 404 `no-session`, unless the client is connected; nothing is kept for it.'),
}) as unknown as z.ZodType<MessageInput>;
