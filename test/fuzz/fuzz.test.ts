/*
 * Goal: no bytes in any pieces on any number of connections end the broker, a shard or another client's connection, leak anything, or draw an answer that
 * the standard does not allow.
 * Method: a short campaign of random episodes over the whole state machine of a connection, MQTT 3.1, 3.1.1 and 5.0, on two shards. SEED=n repeats one;
 * `npm run fuzz -- --seconds 600` runs a long one. A second test shows that the judge of the broker's answers finds what is wrong.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { drawSeed, stage } from '../scenario/observe.ts';
import { connectBytes } from '../scenario/raw-connection.ts';
import { FUZZED, FUZZED_LOGINS, runCampaign } from './campaign.ts';
import { episodeOf } from './episode.ts';
import { wrongAnswer } from './server-stream.ts';

const SECONDS = 5;
/** What a slow machine does instead, however long it takes. */
const EPISODES_WHERE_SLOW = 600;
const SECONDS_WHERE_SLOW = 120;

test('a campaign of broken, mixed and torn packets harms nobody', async (t) => {
  const seed = drawSeed('fuzz');
  const broker = await stage(t, FUZZED);
  let result = await runCampaign(broker, { seed, from: 0, seconds: SECONDS, episodes: Number.POSITIVE_INFINITY });
  if (result.episodes <= 50 || result.receivedBytes <= 10_000)
    result = await runCampaign(broker, { seed, from: 0, seconds: SECONDS_WHERE_SLOW, episodes: EPISODES_WHERE_SLOW });
  t.diagnostic(
    `${result.episodes} episodes, ${result.connections} connections, ${result.sentBytes} bytes sent, ${result.receivedBytes} received`,
  );
  assert.ok(result.episodes > 50 && result.receivedBytes > 10_000);
  assert.equal(await broker.stop(), 0);
});

test('a campaign of broken logins harms nobody', async (t) => {
  const seed = drawSeed('fuzz of logins');
  const broker = await stage(t, FUZZED_LOGINS);
  const result = await runCampaign(broker, { seed, from: 0, seconds: SECONDS, episodes: 2_000, withExchanges: true });
  t.diagnostic(`${result.episodes} episodes, ${result.connections} connections, ${result.receivedBytes} bytes received`);
  assert.ok(result.episodes > 50 && result.receivedBytes > 5_000);
  assert.equal(await broker.stop(), 0);
});

test('an episode is a function of its seed', () => {
  assert.deepEqual(episodeOf(77), episodeOf(77));
  assert.notDeepEqual(episodeOf(77), episodeOf(78));
});

test('the judge finds answers that must not be', () => {
  const sent = connectBytes('x', { properties: { maximumPacketSize: 20 } });
  const connack = [0x20, 3, 0, 0, 0];
  const judge = (bytes: number[], from = sent): string | undefined => wrongAnswer(from, Uint8Array.from(bytes), 1000);
  assert.equal(judge(connack), undefined);
  assert.equal(judge([...connack, 0xd0, 0, 0x30, 4, 0, 1, 0x74, 0]), undefined);
  assert.equal(judge([...connack, 0x30, 9, 0]), undefined, 'a cut');
  assert.match(judge([0xd0, 0]) ?? '', /packet 0/);
  assert.match(judge([...connack, ...connack]) ?? '', /packet 1/);
  assert.match(judge([...connack, 0xc0, 0]) ?? '', /type 12/);
  assert.match(judge([...connack, 0x30, 1, 0]) ?? '', /wrong/);
  assert.match(judge([...connack, 0x30, 19, 0, 1, 0x74, 0, ...new Array<number>(15).fill(0)]) ?? '', /21 bytes/);
  assert.match(judge([...connack, 0xe0, 0, 0xd0, 0]) ?? '', /behind/);
  assert.match(judge([0x20, 3, 0, 0x87, 0, 0xd0, 0]) ?? '', /behind/);
  assert.match(judge([0x20, 2, 0, 0, 0xe0, 0], connectBytes('x', { version: 4 })) ?? '', /type 14/);
  const asked = connectBytes('x', { properties: { authenticationMethod: 'm', maximumPacketSize: 20 } });
  const auth = [0xf0, 6, 0x18, 4, 0x15, 0, 1, 0x6d];
  assert.equal(judge([...auth, ...auth, ...connack, ...auth], asked), undefined);
  assert.match(judge([...auth, ...connack]) ?? '', /type 15/, 'nobody has a method');
  assert.match(judge([0xf0, 6, 0x18, 4, 0x15, 0, 1, 0x6e], asked) ?? '', /another exchange/);
  assert.match(judge([0xf0, 6, 0x00, 4, 0x15, 0, 1, 0x6d], asked) ?? '', /another exchange/);
  assert.match(judge([...auth, 0xd0, 0], asked) ?? '', /packet 1 has type 13/);
  assert.match(judge(connack, sent.subarray(0, 5)) ?? '', /without a CONNECT/);
});
