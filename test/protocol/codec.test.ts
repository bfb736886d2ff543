/*
 * Goal: what is written is what is read, for all packet types, all versions, both directions.
 * Method: random packets that the standard allows go through writer, framer and reader and must come out equal.
 */

import './seed.ts';
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Writer, withView } from '../../src/base/bytes.ts';
import { ACK_BYTES, AckView, writeAck, writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnect, viewWill, writeConnack, writeConnect } from '../../src/protocol/connect.ts';
import {
  DISCONNECT_IMAGE,
  PINGREQ_IMAGE,
  PINGRESP_IMAGE,
  ReasonPacket,
  writeAuth,
  writeDisconnect,
} from '../../src/protocol/disconnect.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { MessageView, PublishPacket, publishLength, writePublish, writePublishPacket } from '../../src/protocol/publish.ts';
import {
  SubackPacket,
  SubscribePacket,
  UnsubscribePacket,
  writeSuback,
  writeSubscribe,
  writeUnsuback,
  writeUnsubscribe,
} from '../../src/protocol/subscribe.ts';
import { codesOf, connects, packetIds, propertiesIn, propertiesOf, publishes, texts, versions, without } from './arbitrary.ts';
import { readWhole } from './read-any.ts';

/** Writes with a small writer, so that it has to grow, and reads the result. */
function through(version: types.ProtocolVersion, from: 'client' | 'server', write: (writer: Writer) => void): unknown {
  const writer = new Writer(1);
  write(writer);
  const outcome = readWhole(writer.copy(), version, from);
  assert.equal(outcome.code, 0);
  return outcome.value;
}

test('CONNECT', () => {
  fc.assert(
    fc.property(versions.chain(connects), (packet) => {
      assert.deepEqual(
        through(packet.version, 'client', (writer) => writeConnect(writer, packet)),
        packet,
      );
    }),
  );
});

test('a refused CONNECT says which version the client spoke', () => {
  const refuse = (hex: string): [number, number] => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const result = readConnect(bytes, 0, bytes.length);
    assert.equal(result.packet, undefined);
    return [result.code, result.version];
  };
  assert.deepEqual(refuse('00044d515454 05 03 003c 00 0001 61'), [0x81, 5]);
  assert.deepEqual(refuse('00044d515454 04 03 003c 0001 61'), [0x81, 4]);
  assert.deepEqual(refuse('00044d515454 06 02'), [0x84, 5]);
  assert.deepEqual(refuse('00044d515454 03 02'), [0x84, 4]);
  assert.deepEqual(refuse('00064d5149736470 04 02'), [0x84, 3]);
  assert.deepEqual(refuse('000448545450 05 02'), [0x84, 0]);
  assert.deepEqual(refuse('00044d51'), [0x81, 0]);
});

test('CONNACK', () => {
  fc.assert(
    fc.property(
      versions.chain((version) =>
        fc.tuple(fc.constant(version), fc.boolean(), codesOf(types.CONNACK), propertiesIn(version, types.CONNACK)),
      ),
      ([version, sessionPresent, code, properties]) => {
        const read = through(version, 'server', (writer) => writeConnack(writer, version, sessionPresent, code, properties));
        const expected = new ConnackPacket();
        expected.sessionPresent = sessionPresent && code === 0 && version !== 3;
        expected.properties = properties;
        expected.code = version === 5 ? code : (read as ConnackPacket).code;
        assert.deepEqual(read, expected);
        if (version !== 5) assert.ok(expected.code <= 5 && (expected.code === 0) === (code === 0));
      },
    ),
  );
});

test('PUBLISH by the client’s writer and reader', () => {
  fc.assert(
    fc.property(
      versions.chain((version) => fc.tuple(fc.constant(version), publishes(version, 'server'))),
      ([version, packet]) => {
        const isAllowed = version === 5 || packet.topic !== '';
        if (isAllowed)
          assert.deepEqual(
            through(version, 'server', (writer) => writePublishPacket(writer, packet, version)),
            packet,
          );
      },
    ),
  );
});

test('PUBACK, PUBREC, PUBREL and PUBCOMP', () => {
  const ackTypes = fc.constantFrom(types.PUBACK, types.PUBREC, types.PUBREL, types.PUBCOMP);
  fc.assert(
    fc.property(
      versions.chain((version) =>
        ackTypes.chain((type) => fc.tuple(fc.constant(version), fc.constant(type), packetIds, codesOf(type), propertiesIn(version, type))),
      ),
      ([version, type, packetId, code, properties]) => {
        const expected = new AckView();
        expected.packetId = packetId;
        const image = Buffer.alloc(ACK_BYTES + 1);
        assert.equal(writeAck(image, 1, type, packetId), ACK_BYTES + 1);
        assert.deepEqual(readWhole(image.subarray(1), version, 'client').value, expected);
        if (version === 5) {
          expected.reasonCode = code;
          if (Object.keys(properties).length > 0) expected.properties = properties;
        }
        const read = through(version, 'client', (writer) => writeAckDetail(writer, type, version, packetId, code, properties));
        assert.deepEqual(read, expected);
      },
    ),
  );
});

test('SUBSCRIBE', () => {
  const entries = (version: types.ProtocolVersion) =>
    fc.record(
      {
        filter: texts,
        qos: fc.nat(2),
        noLocal: version === 5 ? fc.boolean() : fc.constant(false),
        retainAsPublished: version === 5 ? fc.boolean() : fc.constant(false),
        retainHandling: version === 5 ? fc.nat(2) : fc.constant(0),
      },
      { noNullPrototype: true },
    );
  fc.assert(
    fc.property(
      versions.chain((version) =>
        fc.tuple(
          fc.constant(version),
          packetIds,
          propertiesIn(version, types.SUBSCRIBE),
          fc.array(entries(version), { minLength: 1, maxLength: 5 }),
        ),
      ),
      ([version, packetId, properties, list]) => {
        const packet = new SubscribePacket();
        packet.packetId = packetId;
        packet.properties = properties;
        packet.entries = list;
        assert.deepEqual(
          through(version, 'client', (writer) => writeSubscribe(writer, packet, version)),
          packet,
        );
      },
    ),
  );
});

test('SUBACK and UNSUBACK', () => {
  const ackTypes = fc.constantFrom(types.SUBACK, types.UNSUBACK);
  fc.assert(
    fc.property(
      versions.chain((version) =>
        ackTypes.chain((type) =>
          fc.tuple(
            fc.constant(version),
            fc.constant(type),
            packetIds,
            fc.array(codesOf(type), { minLength: 1, maxLength: 5 }),
            propertiesIn(version, type),
          ),
        ),
      ),
      ([version, type, packetId, codes, properties]) => {
        const expected = new SubackPacket();
        expected.packetId = packetId;
        expected.properties = properties;
        if (version === 5) expected.codes = codes;
        else if (type === types.SUBACK) expected.codes = codes.map((code) => Math.min(code, 0x80));
        const write = type === types.SUBACK ? writeSuback : writeUnsuback;
        assert.deepEqual(
          through(version, 'server', (writer) => write(writer, version, packetId, codes, properties)),
          expected,
        );
      },
    ),
  );
});

test('UNSUBSCRIBE', () => {
  fc.assert(
    fc.property(
      versions.chain((version) =>
        fc.tuple(
          fc.constant(version),
          packetIds,
          propertiesIn(version, types.UNSUBSCRIBE),
          fc.array(texts, { minLength: 1, maxLength: 5 }),
        ),
      ),
      ([version, packetId, properties, filters]) => {
        const packet = new UnsubscribePacket();
        packet.packetId = packetId;
        packet.properties = properties;
        packet.filters = filters;
        assert.deepEqual(
          through(version, 'client', (writer) => writeUnsubscribe(writer, packet, version)),
          packet,
        );
      },
    ),
  );
});

test('DISCONNECT and AUTH', () => {
  const reasonTypes = fc.constantFrom(types.DISCONNECT, types.AUTH);
  fc.assert(
    fc.property(
      reasonTypes.chain((type) => fc.tuple(fc.constant(type), codesOf(type), propertiesOf(type))),
      texts,
      ([type, code, properties], method) => {
        const packet = new ReasonPacket();
        packet.code = code;
        packet.properties = type === types.AUTH ? { ...properties, authenticationMethod: method } : properties;
        const read = through(5, 'client', (writer) => {
          if (type === types.AUTH) writeAuth(writer, code, packet.properties);
          else writeDisconnect(writer, 5, code, packet.properties);
        });
        assert.deepEqual(read, packet);
      },
    ),
  );
  const old = new Writer(1);
  writeDisconnect(old, 4, 0x87, { reasonString: 'not sent' });
  assert.deepEqual([...old.copy()], [...DISCONNECT_IMAGE]);
});

test('PINGREQ and PINGRESP', () => {
  assert.equal(readWhole(PINGREQ_IMAGE, 4, 'client').packetType, types.PINGREQ);
  assert.equal(readWhole(PINGRESP_IMAGE, 5, 'server').packetType, types.PINGRESP);
});

test('a Will Message is published as a client would have published it', () => {
  fc.assert(
    fc.property(connects(5), (packet) => {
      const { will } = packet;
      if (will === undefined) return;
      const view = new MessageView();
      viewWill(view, will);
      const expirySeconds = view.messageExpirySeconds;
      const target = withView(Buffer.alloc(publishLength(view, 5, will.qos, null, 0, expirySeconds, 0, false)));
      writePublish(target, 0, view, 5, will.qos, view.isRetained, false, will.qos > 0 ? 1 : 0, null, 0, expirySeconds, 0, false);
      const expected = new PublishPacket();
      expected.topic = will.topic;
      expected.qos = will.qos;
      expected.retain = will.retain;
      expected.packetId = will.qos > 0 ? 1 : 0;
      expected.payload = will.payload;
      expected.properties = without(will.properties, 'willDelayInterval');
      assert.deepEqual(readWhole(target, 5, 'server').value, expected);
      assert.equal(view.topicLevels, will.topic.split('/').length);
    }),
  );
});
