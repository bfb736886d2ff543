/**
 * A connection for the client commands (`pub`, `sub`, `p2p`), on MQTT.js.
 *
 * The library is loaded here and only here, because `start` must not pay for it. A connection is made once: no command reconnects, since a person
 * wants to see that it broke. Invariant: whatever waits for an answer also waits for `lost`, so no command hangs on a dead connection.
 */
import type { IClientOptions, IPublishPacket, MqttClient, Packet } from 'mqtt';
import { Failure } from './failure.ts';

/** Options that every client command has. */
export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
  readonly clientId?: string;
  readonly mqttVersion: '5' | '4' | '3';
}

/** User Properties by name; a name that comes several times has a list. */
export type UserProperties = Readonly<Record<string, string | readonly string[]>>;

/** What a command wants beyond a plain connection. */
export interface Wishes {
  /** Seconds that the broker keeps the session after the connection; 0 or missing: not at all, and it starts clean. */
  readonly sessionSeconds?: number;
  /** Gets every message, also one that follows CONNACK at once. */
  readonly onMessage?: (topic: string, payload: Uint8Array) => void;
}

export interface Connection {
  readonly client: MqttClient;
  readonly clientId: string;
  /** Rejects with a Failure when the connection ends by itself; never resolves. */
  readonly lost: Promise<never>;
  /** Sends DISCONNECT and waits for the end. */
  close(): Promise<void>;
}

/** What the broker answered to a PUBLISH. */
export interface Answer {
  /** Reason Code of PUBACK or PUBREC; 0 where the version has none. */
  readonly reasonCode: number;
  /** The code in words. */
  readonly reason: string;
  readonly userProperties: UserProperties;
}

interface Acknowledgement {
  readonly reasonCode?: number;
  readonly properties?: { readonly userProperties?: UserProperties; readonly reasonString?: string };
}

/** Longest wait for CONNACK. */
const CONNECT_SECONDS = 10;

let reasonCodes: Record<number, string> = {};

/** A Reason Code in words. */
export function reasonText(code: number): string {
  return `${reasonCodes[code] || (code < 0x80 ? 'success' : 'refused')} (0x${code.toString(16).padStart(2, '0')})`;
}

/**
 * Connects.
 * @throws Failure when there is no broker or it refuses
 */
export async function connect(options: ConnectionOptions, wishes: Wishes = {}): Promise<Connection> {
  const { default: mqtt } = await import('mqtt');
  reasonCodes = mqtt.ReasonCodes;
  const sessionSeconds = wishes.sessionSeconds ?? 0;
  const place = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`;
  const version = Number(options.mqttVersion) as 5 | 4 | 3;
  const settings: IClientOptions = {
    host: options.host,
    port: options.port,
    protocol: 'mqtt',
    protocolVersion: version,
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    clientId: options.clientId ?? `onehop-${Math.random().toString(36).slice(2, 10)}`,
    clean: sessionSeconds === 0,
    reconnectPeriod: 0,
    connectTimeout: CONNECT_SECONDS * 1_000,
    resubscribe: false,
  };
  if (options.username !== undefined) settings.username = options.username;
  if (options.password !== undefined) settings.password = options.password;
  if (version === 5) settings.properties = { sessionExpiryInterval: sessionSeconds };
  const client = mqtt.connect(settings);
  if (wishes.onMessage !== undefined) client.on('message', wishes.onMessage);
  await opened(client, place, version);
  return { client, clientId: settings.clientId!, lost: untilLost(client), close: () => client.endAsync() };
}

function opened(client: MqttClient, place: string, version: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error): void => {
      client.end(true);
      reject(new Failure(`cannot connect to ${place}: ${unopened(error, version)}`));
    };
    const failClosed = (): void => fail();
    // Ending a half-open connection may report a second error, which says nothing new.
    client.on('error', () => undefined);
    client.once('error', fail);
    client.once('close', failClosed);
    client.once('connect', () => {
      client.off('error', fail);
      client.off('close', failClosed);
      resolve();
    });
  });
}

/** Why there is no connection, and what to do. @param error undefined: the other side has closed it */
function unopened(error: (Error & { code?: unknown }) | undefined, version: number): string {
  const place = 'give the port of a listener of type tcp (--port)';
  if (error === undefined || error.code === 'ECONNRESET' || error.code === 'EPIPE')
    return `it was closed without an answer; ${place}; the log of the broker says whom it does not let in`;
  if (error.code === 'ECONNREFUSED') return 'nothing listens there; start a broker ("onehop start"), or say where it is: --host, --port';
  // Errors of the network and refusals of the broker have codes. What is left comes from MQTT.js: no CONNACK in time, or bytes that it cannot read.
  if (error.code !== undefined) return describe(error);
  if (error.message === 'connack timeout') return `no answer within ${CONNECT_SECONDS} s; ${place}`;
  return `what answers does not speak MQTT ${version === 5 ? '5' : '3'}; ${place}, or another --mqtt-version`;
}

/** Node gives no text when several addresses of one name fail; the code says enough then. */
function describe(error: Error & { code?: unknown }): string {
  return error.message || String(error.code ?? 'unknown error');
}

function untilLost(client: MqttClient): Promise<never> {
  const lost = new Promise<never>((_, reject) => {
    let reason = 'the broker closed the connection';
    client.on('disconnect', (packet) => {
      reason = `the broker ended the connection: ${reasonText(packet.reasonCode ?? 0)}`;
    });
    client.on('error', (error) => reject(new Failure(describe(error))));
    client.on('close', () => reject(new Failure(reason)));
  });
  // Whoever waits sees the rejection; after an orderly close nobody waits.
  lost.catch(() => undefined);
  return lost;
}

/**
 * Publishes and waits for the answer that belongs to the QoS.
 * @returns the answer; null for QoS 0, which has none
 */
export async function publish(
  connection: Connection,
  topic: string,
  message: string,
  options: { qos: 0 | 1 | 2; retain?: boolean; properties?: NonNullable<IPublishPacket['properties']> },
): Promise<Answer | null> {
  let acknowledgement: Acknowledgement | null = null;
  const watch = (packet: Packet): void => {
    // The first answer carries the verdict; PUBCOMP says only that the exchange is over. One command publishes one message.
    if (packet.cmd === 'puback' || packet.cmd === 'pubrec') acknowledgement ??= packet;
  };
  connection.client.on('packetreceive', watch);
  const sent = connection.client.publishAsync(topic, message, options).catch((error: unknown) => {
    // A Reason Code of 0x80 and above comes as an error; it is an answer all the same.
    if (acknowledgement === null) throw error;
  });
  await Promise.race([sent, connection.lost]);
  connection.client.off('packetreceive', watch);
  return options.qos === 0 ? null : answer(acknowledgement);
}

function answer(acknowledgement: Acknowledgement | null): Answer {
  const reasonCode = acknowledgement?.reasonCode ?? 0;
  const detail = acknowledgement?.properties?.reasonString;
  const reason = detail === undefined ? reasonText(reasonCode) : `${reasonText(reasonCode)}: ${detail}`;
  return { reasonCode, reason, userProperties: acknowledgement?.properties?.userProperties ?? {} };
}

/** `key=value` texts as User Properties; a key given twice keeps both values. */
export function userProperties(pairs: readonly string[] | undefined): Record<string, string[]> {
  const result: Record<string, string[]> = {};
  for (const pair of pairs ?? []) {
    const at = pair.indexOf('=');
    if (at < 0) throw new Failure(`--property ${pair}: expected key=value`, 2);
    const name = pair.slice(0, at);
    result[name] = [...(result[name] ?? []), pair.slice(at + 1)];
  }
  return result;
}
