/**
 * Messages in JSON: their schemas, and what becomes of one that has passed.
 */
import { z } from 'zod';
import { CONFIRM_MILLISECONDS, CONFIRM_MILLISECONDS_MAX, EXPIRY_MAX, MessageInput, USER_PROPERTIES_MAX } from './message-input.ts';
import { Problem } from './problem.ts';
import { checked } from './read-asked.ts';

const TEXT_MAX = 65_535;

/** What every message may have. */
interface JsonFields {
  readonly payload?: string | undefined;
  readonly payloadBase64?: string | undefined;
  readonly qos: 0 | 1 | 2;
  readonly expirySeconds?: number | undefined;
  readonly contentType?: string | undefined;
  readonly responseTopic?: string | undefined;
  /** Base64. */
  readonly correlationData?: string | undefined;
  readonly payloadFormat?: 0 | 1 | undefined;
  readonly userProperties: [key: string, value: string][];
}

/** One message of a batch. */
export interface JsonMessage extends JsonFields {
  readonly topic: string;
  readonly retain: boolean;
}

/** One message to many clients. */
export interface JsonClientMessages extends JsonFields {
  readonly clientIds: readonly string[];
  readonly topic?: string | undefined;
  readonly confirm: boolean;
  readonly timeoutMilliseconds?: number | undefined;
  readonly ifOnline: boolean;
}

const mqttText = z
  .string()
  .max(TEXT_MAX)
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'expected text without U+0000 and lone surrogates');
const base64 = z.base64();

const messageFields = {
  payload: z.string().optional().describe('Text, sent as UTF-8.'),
  payloadBase64: base64.optional().describe('Bytes.'),
  qos: z.literal([0, 1, 2]).default(1),
  expirySeconds: z.int().min(0).max(EXPIRY_MAX).optional(),
  contentType: mqttText.optional(),
  responseTopic: mqttText.optional(),
  correlationData: base64.optional().describe('Base64.'),
  payloadFormat: z.literal([0, 1]).optional(),
  userProperties: z
    .array(z.tuple([mqttText, mqttText]))
    .max(USER_PROPERTIES_MAX)
    .default([]),
};

/** One message of a batch. */
export const messageSchema: z.ZodType<JsonMessage> = z
  .strictObject({ topic: mqttText.min(1), retain: z.boolean().default(false), ...messageFields })
  .refine(hasOnePayload, 'payload and payloadBase64 exclude each other');

/** Messages of one request. */
export const BATCH_MAX = 1000;
/** User Properties of all messages of one request: each costs as much as a short message. */
const BATCH_USER_PROPERTIES_MAX = 10_000;

/** A batch, for the documents: see `readBatch`. */
export const batchSchema: z.ZodType<{ readonly messages: readonly JsonMessage[] }> = z.strictObject({
  messages: z.array(messageSchema).min(1).max(BATCH_MAX),
});
const unreadBatch = z.strictObject({ messages: z.array(z.unknown()).min(1).max(BATCH_MAX) });

/** A batch whose messages are still to be checked, each by `checkedMessage`: all of them at once hold up others for 20 ms. @throws Problem */
export function readBatch(value: unknown): { readonly messages: readonly JsonMessage[] } {
  const { messages } = checked(unreadBatch, value, 'body');
  let count = 0;
  for (const message of messages) {
    const { userProperties } = (message ?? {}) as { readonly userProperties?: unknown };
    if (Array.isArray(userProperties)) count += userProperties.length;
  }
  if (count > BATCH_USER_PROPERTIES_MAX)
    throw new Problem(
      'too-large',
      `the messages of one request may have ${BATCH_USER_PROPERTIES_MAX} User Properties together, these have ${count}: send them in several requests`,
    );
  return { messages: messages as readonly JsonMessage[] };
}

/** A message of a batch, checked. @throws Problem */
export function checkedMessage(message: unknown, index: number): JsonMessage {
  return checked(messageSchema, message, `body.messages.${index}`);
}

/** One message to many clients. */
export const clientMessagesSchema: z.ZodType<JsonClientMessages> = z
  .strictObject({
    clientIds: z.array(mqttText.min(1)).min(1).max(1000),
    topic: mqttText.min(1).optional().describe('Topic that the clients see; default `{first}/p2p/{clientId}`.'),
    ...messageFields,
    confirm: z.boolean().default(false).describe('Answer when the clients have acknowledged, or the time is over.'),
    timeoutMilliseconds: z
      .int()
      .min(1)
      .max(CONFIRM_MILLISECONDS_MAX)
      .optional()
      .describe(`How long \`confirm\` waits; default ${CONFIRM_MILLISECONDS}. Only with \`confirm\`.`),
    ifOnline: z.boolean().default(false).describe('Only to clients that are connected.'),
  })
  .refine(hasOnePayload, 'payload and payloadBase64 exclude each other')
  .refine(({ confirm, timeoutMilliseconds }) => confirm || timeoutMilliseconds === undefined, {
    path: ['timeoutMilliseconds'],
    message: 'only with confirm: true',
  })
  .refine(({ confirm, qos }) => !confirm || qos > 0, { path: ['confirm'], message: 'a client acknowledges QoS 1 and 2 only' });

function hasOnePayload(message: { readonly payload?: string | undefined; readonly payloadBase64?: string | undefined }): boolean {
  return message.payload === undefined || message.payloadBase64 === undefined;
}

/** A message in JSON that has passed its schema. */
export function messageOfJson(fields: JsonFields & { readonly topic?: string | undefined; readonly retain?: boolean }): MessageInput {
  const input = new MessageInput();
  input.topic = fields.topic ?? '';
  if (fields.payloadBase64 !== undefined) input.payload = Buffer.from(fields.payloadBase64, 'base64');
  else if (fields.payload !== undefined) input.payload = Buffer.from(fields.payload);
  input.qos = fields.qos;
  input.isRetained = fields.retain ?? false;
  input.expirySeconds = fields.expirySeconds ?? -1;
  input.payloadFormat = fields.payloadFormat ?? -1;
  input.contentType = fields.contentType ?? '';
  input.responseTopic = fields.responseTopic ?? '';
  input.correlationData = fields.correlationData === undefined ? null : Buffer.from(fields.correlationData, 'base64');
  input.userProperties = fields.userProperties;
  return input;
}
