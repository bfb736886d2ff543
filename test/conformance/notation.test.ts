/*
 * Goal: the byte notation means what it says, above all that patterns refuse what does not fit.
 * Method: small notations against bytes written by hand.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import { type Captures, encodeNotation, matchNotation, type PacketTemplates, parseNotation } from './notation.ts';

const templates: PacketTemplates = {
  PUB: { parameters: ['topic', 'payload=', 'first=30'], bytes: "%first [ s'%topic' %payload ]" },
  TWICE: { parameters: ['topic'], bytes: 'PUB(%topic) PUB(%topic; 01)' },
};

test('bytes, strings, blocks, groups and repetition are encoded', () => {
  assert.equal(encode("30 [ s'a/b' 'hi' ]"), '30070003612f626869');
  assert.equal(encode("30 [ s'{t}' ]"), '3004000255' + '55');
  assert.equal(encode("[ 'x'*128 ]").slice(0, 6), '800178');
  assert.equal(encode('( 01 02 )*2 s( 0a )'), '01020102' + '00010a');
});

test('templates fill in parameters by place and by name', () => {
  assert.equal(encode("PUB(a; 'x')"), '3004000161' + '78');
  assert.equal(encode('PUB(a; first=31)'), '31030001' + '61');
  assert.equal(encode('TWICE(a)'), '3003000161' + '300400016101');
  assert.throws(() => encode('PUB(; colour=3)'));
  assert.throws(() => encode('NONE'));
});

test('patterns refuse bytes that differ, are missing or are too many', () => {
  assert.ok(fits("30 [ s'a' 'x' ]", '3004000161' + '78'));
  assert.ok(!fits("30 [ s'a' 'x' ]", '3004000161' + '79'));
  assert.ok(!fits("30 [ s'a' ]", '3004000161' + '78'));
  assert.ok(!fits("30 [ s'a' 'xy' ]", '3004000161' + '78'));
  assert.ok(!fits('d0 00', 'd00000'));
  assert.ok(!fits('30 [ ... ]', '3003ff'));
});

test('wildcards, choices and the rest', () => {
  assert.ok(fits('3? ?? 01', '3aff01'));
  assert.ok(!fits('3? 01', '4001'));
  assert.ok(fits('40 [ 0001 ( | 00 ( | [~ ] ) ) ]', '40020001'));
  assert.ok(fits('40 [ 0001 ( | 00 ( | [~ ] ) ) ]', '4003000100'));
  assert.ok(fits('40 [ 0001 ( | 00 ( | [~ ] ) ) ]', '400400010000'));
  assert.ok(!fits('40 [ 0001 ( | 00 ( | [~ ] ) ) ]', '4003000110'));
  assert.ok(fits('e0 [ 81 ... ]', 'e00481020304'));
});

test('property sets hold what they name, in any order', () => {
  assert.ok(fits('[~ 21 0005]', '0621000522000a'));
  assert.ok(!fits('[~ 21 0006]', '0621000522000a'));
  assert.ok(!fits('[~ !22]', '0621000522000a'));
  assert.ok(fits('[= 22 000a, 21 0005]', '0621000522000a'));
  assert.ok(!fits('[= 22 000a]', '0621000522000a'));
  assert.ok(!fits('[= ]', '03210005'));
  assert.ok(!fits('[~ ]', '0221'), 'a property cut short');
  assert.ok(!fits('[~ ]', '02ff00'), 'a property that does not exist');
});

test('User Properties are compared in their order, Subscription Identifiers in any', () => {
  const properties = `${'0e'}${'26' + '000161' + '000131'}${'26' + '000162' + '000132'}`;
  assert.ok(fits("[= 26 s'a' s'1', 26 s'b' s'2']", properties));
  assert.ok(!fits("[= 26 s'b' s'2', 26 s'a' s'1']", properties));
  assert.ok(fits('[= 0b 02, 0b 01]', '040b010b02'));
});

test('captures are kept when the whole pattern fits, and used afterwards', () => {
  const captures: Captures = new Map();
  assert.ok(!matchNotation(parse('32 02 <id:2> 00'), bytes('32020007'), captures));
  assert.equal(captures.size, 0);
  assert.ok(matchNotation(parse('32 02 <id:2>'), bytes('32020007'), captures));
  assert.ok(matchNotation(parse('[~ 12 s<name>]'), bytes('0512000261' + '62'), captures));
  assert.equal(Buffer.from(encodeNotation(parse('40 02 $id s($name)'), captures)).toString('hex'), '40020007' + '00026162');
  assert.ok(matchNotation(parse('$id'), bytes('0007'), captures));
  assert.ok(!matchNotation(parse('$id'), bytes('0008'), captures));
});

test('what cannot be sent, or cannot be read, throws', () => {
  for (const notation of ['3?', '...', '<id:2>', '( 01 | 02 )', '$unknown', '[~ ]']) {
    assert.throws(() => encode(notation), notation);
  }
  for (const notation of ['123', '[ 01', '( 01', "'open", '*2', 'g0']) {
    assert.throws(() => parse(notation), notation);
  }
});

function parse(text: string): ReturnType<typeof parseNotation> {
  return parseNotation(text, templates, () => 'UU');
}

function encode(text: string): string {
  return Buffer.from(encodeNotation(parse(text), new Map())).toString('hex');
}

function fits(pattern: string, hex: string): boolean {
  return matchNotation(parse(pattern), bytes(hex), new Map());
}

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}
