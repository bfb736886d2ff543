/*
 * One episode of the fuzz: a few connections, what each of them sends, in which pieces and in which order. A pure function of its seed. It begins with
 * packets that make sense and then breaks them: bits, lengths, cuts, splices, repetitions; so that the bytes reach deep states and not only the first check.
 */
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { writeAckDetail } from '../../src/protocol/ack.ts';
import { writeConnect } from '../../src/protocol/connect.ts';
import { DISCONNECT_IMAGE, PINGREQ_IMAGE, writeAuth, writeDisconnect } from '../../src/protocol/disconnect.ts';
import { type ProtocolVersion, PUBACK, PUBCOMP, PUBREC, PUBREL, V5 } from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { PublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import { SubscribePacket, UnsubscribePacket, writeSubscribe, writeUnsubscribe } from '../../src/protocol/subscribe.ts';
import { PACKETS, packetBytes } from '../packets.ts';
import { Random } from '../scenario/observe.ts';

/** What happens next on one connection: bytes, a wait until the broker has said something, our half of the close, or a reset. */
export interface Action {
  readonly connection: number;
  readonly kind: 'send' | 'wait' | 'end' | 'reset';
  readonly bytes: Uint8Array;
}

export interface Episode {
  readonly connections: number;
  readonly actions: readonly Action[];
}

const NO_BYTES = new Uint8Array(0);
/** The packet table: what a client may send, and what it must not. */
const FROM_CLIENT_CASES: readonly Uint8Array[] = PACKETS.filter(({ from }) => from !== 'server').map(({ hex }) => packetBytes(hex));
/** Few, so that connections take each other over and message each other. */
const CLIENT_IDS = ['f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7', 'f8', '', '\u{1f600}', 'a b/c'];
const TOPICS = ['t', 't/1', 't/2/x', '/', 'p2p', 'x/p2p/', '$SYS/x', '', 'deep/'.repeat(140), 'u/\u00e9'];
const FILTERS = ['#', '+', 't/#', 't/+/x', '$share/g/t/#', '$share/g/+', '$SYS/#', '$events/#', 'a#', '$share//t', '+/p2p/f1', 'x/p2p/f2'];

const SCRAM = 'SCRAM-SHA-256';
const SCRAM_MESSAGES = [
  'n,,n=user,r=abc',
  'y,,n=nobody,r=abc',
  'n,a=user,n=user,r=abc,x=y',
  'p=tls-exporter,,n=user,r=abc',
  'n,,n==2C=3D,r=abc',
  'c=biws,r=abc,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  'c=biws,r=abc,p=AA==',
  ',,,',
];

/**
 * The episode of this seed.
 * @param withExchanges most clients have an Authentication Method, and wait for the broker's first word: a login that nobody waits for is forgotten
 */
export function episodeOf(seed: number, withExchanges = false): Episode {
  const random = new Random(seed);
  const connections = 1 + random.below(4);
  const queues: Action[][] = [];
  for (let connection = 0; connection < connections; connection++)
    queues.push(withExchanges ? exchangeOf(random, connection) : actionsOf(random, connection));
  const actions: Action[] = [];
  while (queues.some((queue) => queue.length > 0)) {
    const queue = random.pick(queues);
    // A run of several, or one at a time.
    for (let run = 1 + random.below(4); run > 0 && queue.length > 0; run--) actions.push(queue.shift()!);
  }
  return { connections, actions };
}

function actionsOf(random: Random, connection: number): Action[] {
  const version = random.pick<ProtocolVersion>([3, 4, 5, 5]);
  let packets: Uint8Array[] = [];
  if (!random.oneIn(12)) packets.push(connectPacket(random, version));
  for (let count = random.below(14); count > 0; count--) packets.push(packet(random, version));
  // A third stays as it is: valid traffic in any order is part of the state machine.
  if (!random.oneIn(3)) packets = packets.map((bytes, i) => (random.oneIn(i === 0 ? 10 : 4) ? broken(random, bytes, packets) : bytes));
  let bytes: Uint8Array = Buffer.concat(packets);
  if (random.oneIn(10)) bytes = broken(random, bytes, packets);
  const actions: Action[] = [];
  const isTorn = random.oneIn(4);
  for (let at = 0; at < bytes.length; ) {
    const length = isTorn ? 1 + random.below(5) : 1 + random.below(random.oneIn(3) ? 40 : 4000);
    actions.push({ connection, kind: 'send', bytes: bytes.subarray(at, at + length) });
    at += length;
    if (actions.length > 400) {
      actions.push({ connection, kind: 'send', bytes: bytes.subarray(at) });
      break;
    }
  }
  actions.push({ connection, kind: random.oneIn(5) ? 'reset' : 'end', bytes: NO_BYTES });
  return actions;
}

/** A CONNECT that is answered, and then packets that belong to a login, or do not. */
function exchangeOf(random: Random, connection: number): Action[] {
  const bytes = connectPacket(random, V5, { authenticationMethod: random.oneIn(12) ? 'm' : SCRAM, authenticationData: scramData(random) });
  const actions: Action[] = [
    { connection, kind: 'send', bytes },
    { connection, kind: 'wait', bytes: NO_BYTES },
  ];
  const packets: Uint8Array[] = [];
  for (let count = 1 + random.below(4); count > 0; count--) packets.push(random.oneIn(5) ? packet(random, V5) : authPacket(random));
  for (const one of packets) actions.push({ connection, kind: 'send', bytes: random.oneIn(4) ? broken(random, one, packets) : one });
  // No reset: the broker closes many of these, and Node loses a socket that is reset while it closes.
  actions.push({ connection, kind: 'end', bytes: NO_BYTES });
  return actions;
}

function written(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(256);
  write(writer);
  return writer.copy();
}

function connectPacket(random: Random, version: ProtocolVersion, exchange: Properties = {}): Uint8Array {
  const clientId = random.pick(CLIENT_IDS);
  const properties: Properties = { ...exchange };
  if (random.oneIn(2)) properties.sessionExpiryInterval = random.pick([0, 1, 60, 0xffffffff]);
  if (random.oneIn(3)) properties.receiveMaximum = 1 + random.below(4);
  if (random.oneIn(4)) properties.topicAliasMaximum = random.below(4);
  if (random.oneIn(5)) properties.maximumPacketSize = 20 + random.below(200);
  if (random.oneIn(30)) properties.authenticationMethod = SCRAM;
  const topic = random.oneIn(2) ? 't/will' : `w/p2p/${random.pick(CLIENT_IDS)}`;
  const will = {
    topic,
    topicBytes: utf8Bytes(topic),
    payload: utf8Bytes('gone'),
    qos: random.below(3),
    retain: random.oneIn(3),
    properties: random.oneIn(2) ? { willDelayInterval: random.below(3) } : {},
  };
  return written((writer) =>
    writeConnect(writer, {
      version,
      cleanStart: random.oneIn(2),
      keepAliveSeconds: random.pick([0, 1, 60]),
      clientId,
      clientIdBytes: utf8Bytes(clientId),
      will: random.oneIn(3) ? will : undefined,
      username: random.oneIn(6) ? 'user' : undefined,
      password: undefined,
      properties,
    }),
  );
}

function packet(random: Random, version: ProtocolVersion): Uint8Array {
  const packetId = 1 + random.below(6);
  switch (random.below(13)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      const publish = new PublishPacket();
      publish.topic = random.oneIn(3) ? `x/p2p/${random.pick(CLIENT_IDS)}` : random.pick(TOPICS);
      publish.qos = random.below(3);
      publish.retain = random.oneIn(4);
      publish.dup = publish.qos > 0 && random.oneIn(3);
      publish.packetId = publish.qos > 0 ? packetId : 0;
      publish.payload = Buffer.alloc(random.oneIn(10) ? random.below(20_000) : random.below(60), 0x61);
      if (random.oneIn(4)) publish.properties.topicAlias = 1 + random.below(40);
      if (random.oneIn(4)) publish.properties.messageExpiryInterval = random.below(3);
      if (random.oneIn(4)) {
        publish.properties.userProperties = [
          [random.pick(['p2p-target', 'p2p-report', 'p2p-receipt', 'key']), random.pick([...CLIENT_IDS, '1'])],
          ['p2p-target', random.pick(CLIENT_IDS)],
        ];
        publish.properties.responseTopic = random.pick(['t/answer', 'x/p2p/f1']);
      }
      return written((writer) => writePublishPacket(writer, publish, version));
    }
    case 4:
    case 5: {
      const subscribe = new SubscribePacket();
      subscribe.packetId = packetId;
      if (random.oneIn(3)) subscribe.properties.subscriptionIdentifiers = [1 + random.below(300)];
      for (let count = 1 + random.below(4); count > 0; count--) {
        subscribe.entries.push({
          filter: random.pick(FILTERS),
          qos: random.below(3),
          noLocal: random.oneIn(5),
          retainAsPublished: random.oneIn(2),
          retainHandling: random.below(3),
        });
      }
      return written((writer) => writeSubscribe(writer, subscribe, version));
    }
    case 6: {
      const unsubscribe = new UnsubscribePacket();
      unsubscribe.packetId = packetId;
      unsubscribe.filters = [random.pick(FILTERS), random.pick(FILTERS)];
      return written((writer) => writeUnsubscribe(writer, unsubscribe, version));
    }
    case 7:
    case 8:
      return written((writer) =>
        writeAckDetail(
          writer,
          random.pick([PUBACK, PUBREC, PUBREL, PUBCOMP]),
          version,
          packetId,
          random.pick([0, 0, 0x10, 0x80, 0x92]),
          undefined,
        ),
      );
    case 9:
      return PINGREQ_IMAGE;
    case 10:
      if (random.oneIn(3))
        return written((writer) => writeDisconnect(writer, version, random.pick([0, 4, 0x81]), { sessionExpiryInterval: random.below(3) }));
      if (random.oneIn(3)) return connectPacket(random, version);
      return random.oneIn(4) ? DISCONNECT_IMAGE : PINGREQ_IMAGE;
    case 11:
      return authPacket(random);
    default:
      return random.pick(FROM_CLIENT_CASES);
  }
}

function authPacket(random: Random): Uint8Array {
  const properties: Properties = {};
  if (!random.oneIn(10)) properties.authenticationMethod = random.oneIn(8) ? 'm' : SCRAM;
  if (!random.oneIn(6)) properties.authenticationData = scramData(random);
  if (random.oneIn(8)) properties.reasonString = 'why';
  if (random.oneIn(8)) properties.userProperties = [['key', 'value']];
  return written((writer) => writeAuth(writer, random.pick([0x18, 0x18, 0x18, 0x19, 0x00]), properties));
}

/** Messages of an exchange, in their place or not, whole or broken. No proof can be right: the broker's nonce is in it. */
function scramData(random: Random): Uint8Array {
  const data = Buffer.from(random.oneIn(2) ? SCRAM_MESSAGES[0]! : random.pick(SCRAM_MESSAGES));
  if (random.oneIn(4)) data[random.below(data.length)]! ^= 1 << random.below(8);
  return random.oneIn(60) ? Buffer.alloc(random.below(40_000), 'n,,n=user,r=x') : data;
}

/** The same bytes with one or several faults. */
function broken(random: Random, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let result = Buffer.from(bytes);
  for (let faults = 1 + random.below(3); faults > 0; faults--) {
    const at = random.below(Math.max(1, result.length));
    switch (random.below(8)) {
      case 0:
      case 1:
        if (result.length > 0) result[at]! ^= 1 << random.below(8);
        break;
      case 2:
        if (result.length > 0) result[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
        break;
      case 3:
        result = result.subarray(0, at);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + random.below(4))]);
        break;
      case 5:
        result = Buffer.concat([result.subarray(0, at), Buffer.from([random.below(256), random.below(256)]), result.subarray(at)]);
        break;
      case 6: {
        // A piece of another packet in the middle of this one.
        const other = others.length > 0 ? random.pick(others) : result;
        const from = random.below(other.length + 1);
        result = Buffer.concat([result.subarray(0, at), other.subarray(from, from + random.below(30)), result.subarray(at)]);
        break;
      }
      default:
        // The Remaining Length lies.
        if (result.length > 1) result[1] = random.pick([0, result[1]! - 1, result[1]! + 1, 0x7f, 0x80, 0xff]) & 0xff;
    }
  }
  return result;
}
