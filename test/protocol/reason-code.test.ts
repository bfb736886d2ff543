/*
 * Goal: the tables of packet types and reason codes are the standard's.
 * Method: totals and a few cells of tables 2-2 and 2-6, and of the return codes of MQTT 3.1.1.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import * as types from '../../src/protocol/packet-type.ts';
import { connackReturnCode, mayCarry, REASON_CODES, ReasonCode, reasonName } from '../../src/protocol/reason-code.ts';

test('every named code has a row, and every row a name', () => {
  assert.deepEqual(new Set(REASON_CODES), new Set(Object.values(ReasonCode)));
  assert.equal(REASON_CODES.length, 43);
  assert.equal(reasonName(0x10), 'No matching subscribers');
  assert.equal(reasonName(0x03), '0x03');
});

test('packets carry the codes of their own sections', () => {
  const counts = Array.from({ length: 16 }, (_, type) => REASON_CODES.filter((code) => mayCarry(type, code)).length);
  // DISCONNECT: the 29 of table 3-10 and Bad authentication method, which section 2.4 allows it as well.
  assert.deepEqual(counts, [0, 0, 22, 0, 9, 9, 2, 2, 0, 12, 0, 7, 0, 0, 30, 3]);
  assert.ok(mayCarry(types.PUBACK, ReasonCode.NoMatchingSubscribers));
  assert.ok(!mayCarry(types.SUBACK, ReasonCode.NoMatchingSubscribers));
  assert.ok(!mayCarry(types.PUBACK, -1) && !mayCarry(types.PUBACK, 256));
});

test('a CONNACK before MQTT 5 says one of five', () => {
  assert.equal(connackReturnCode(ReasonCode.Success), 0);
  assert.equal(connackReturnCode(ReasonCode.UnsupportedProtocolVersion), 1);
  assert.equal(connackReturnCode(ReasonCode.ClientIdentifierNotValid), 2);
  assert.equal(connackReturnCode(ReasonCode.ServerUnavailable), 3);
  assert.equal(connackReturnCode(ReasonCode.ServerBusy), 3);
  assert.equal(connackReturnCode(ReasonCode.BadUserNameOrPassword), 4);
  assert.equal(connackReturnCode(ReasonCode.NotAuthorized), 5);
  assert.equal(connackReturnCode(0xff), 3);
});

test('fixed header flags', () => {
  for (let first = 0; first < 256; first++) {
    const type = first >> 4;
    const flags = first & 15;
    const required = type === types.PUBREL || type === types.SUBSCRIBE || type === types.UNSUBSCRIBE ? 2 : 0;
    const expected = type === types.PUBLISH || (type !== 0 && flags === required);
    assert.equal(types.hasValidFlags(first), expected);
    assert.equal(types.hasValidFlags(first, types.V31), expected || (required === 2 && flags === 10));
  }
  assert.equal(types.packetTypeName(types.PUBREL), 'PUBREL');
});
