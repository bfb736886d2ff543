/**
 * Schemas that several routes of what runs share.
 */
import { z } from 'zod';

export const time: z.ZodType = z.string().describe('ISO 8601, UTC.');

export const client: z.ZodType = z.object(clientShape());

function clientShape(): Record<string, z.ZodType> {
  return {
    clientId: z.string(),
    username: z.string().nullable(),
    state: z.enum(['connected', 'disconnected']),
    address: z.string().nullable().describe('`address:port`; null while the client is away.'),
    listener: z.int().nullable().describe('Place of its listener in the configuration, from 0.'),
    transport: z.string().nullable().describe('`tcp`, `tls`, `ws`, `wss`, `quic` or `unix`.'),
    protocol: z.int().describe('3: MQTT 3.1, 4: 3.1.1, 5: 5.0. While the client is away: of its last connection.'),
    keepAliveSeconds: z.int().nullable(),
    createdAt: time
      .nullable()
      .describe(
        'When the session began. It outlives a restart with the session; null where it was stored by a version that did not note it.',
      ),
    connectedAt: time.nullable(),
    disconnectedAt: time.nullable().describe('Null also where the broker ended before the client did.'),
    sessionExpirySeconds: z.int().describe('4294967295: never.'),
    subscriptions: z.int(),
    inflight: z.int().describe('Messages sent and not acknowledged.'),
    queued: z.int().describe('Messages that wait.'),
    queuedBytes: z.int(),
    shard: z.int(),
  };
}

export const subscriptionOptions: z.ZodObject = z.object({
  filter: z.string().describe('As the client wrote it, `$share/…` included.'),
  qos: z.int(),
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  retainHandling: z.int(),
  identifier: z.int().nullable(),
  group: z.string().nullable().describe('Share name of a Shared Subscription.'),
  observesP2p: z.boolean().describe("It is for copies of others' P2P messages."),
});

/** Properties of MQTT 5 that came with a message; what is absent was not sent. */
export const messageProperties: z.ZodObject = z.object({
  payloadFormat: z.int().optional(),
  contentType: z.string().optional(),
  responseTopic: z.string().optional(),
  correlationData: z.string().optional().describe('Base64.'),
  userProperties: z.array(z.tuple([z.string(), z.string()])).optional(),
});

/** Of a message. */
export const message: z.ZodObject = z.object({
  topic: z.string(),
  qos: z.int(),
  retain: z.boolean(),
  bytes: z.int().describe('Of the payload.'),
  payloadBase64: z.string().nullable().describe('null for a viewer.'),
  expiresAt: time.nullable(),
  properties: messageProperties.nullable().describe('null for a viewer.'),
});

export const clientDetails: z.ZodType = z.object({
  ...clientShape(),
  isPersistent: z.boolean().describe('The session outlives its connection.'),
  isStored: z.boolean().describe('It outlives the broker.'),
  cleanStart: z.boolean().nullable(),
  receiveMaximum: z.int().nullable(),
  packetBytesMax: z.int().nullable(),
  outboundBytes: z.int().nullable().describe('Bytes that the network has not taken yet.'),
  isThrottled: z.boolean().nullable().describe('The client is not read now, because a quota is used up.'),
  streams: z.int().describe('Data streams of a QUIC client.'),
  authenticator: z.string().nullable().describe('Which one has let it in.'),
  isSuperuser: z.boolean().nullable(),
  attributes: z.record(z.string(), z.string()),
  incomingQos2: z.int().describe('QoS 2 messages of the client that it has not released.'),
  subscriptionList: z.array(subscriptionOptions).describe('The first 1000.'),
  will: message.extend({ delaySeconds: z.int(), expirySeconds: z.int().nullable() }).nullable(),
});

export const clientPath: z.ZodObject = z.object({ clientId: z.string().describe('Client Identifier, percent-encoded.') });
