/*
 * Goal: a message in a query is read as it was written, in whatever order and spelling, and nothing that is no such query does more than throw a Problem.
 * Method: random values, encoded as programs do; random texts.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { MessageInput, readClientMessageQuery, readPublishQuery, takeUserPropertyHeader } from '../../src/http/message-input.ts';
import { Problem } from '../../src/http/problem.ts';
import '../protocol/seed.ts';

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });

test('what is written is read', () => {
  fc.assert(
    fc.property(
      fc.record({
        qos: optional(fc.nat(2)),
        expiry: optional(fc.nat(0xffffffff)),
        contentType: optional(text),
        responseTopic: optional(text),
        correlationData: optional(text),
        payloadFormat: optional(fc.nat(1)),
        retained: optional(fc.boolean()),
      }),
      fc.array(
        fc.tuple(
          text.filter((key) => !key.includes(':')),
          text,
        ),
        { maxLength: 5 },
      ),
      fc.boolean(),
      fc.infiniteStream(fc.nat(1000)),
      (given, userProperties, isHosted, order) => {
        const hosted: Record<string, string> = {
          expiry: 'MessageExpiryInterval',
          contentType: 'ContentType',
          responseTopic: 'ResponseTopic',
          correlationData: 'CorrelationData',
          payloadFormat: 'PayloadFormatIndicator',
        };
        const single = Object.entries(given)
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => ({ key: order.next().value as number, pair: [isHosted ? (hosted[name] ?? name) : name, String(value)] }));
        const pairs = single.sort((a, b) => a.key - b.key).map(({ pair }) => pair);
        for (const [key, value] of userProperties) pairs.push(['userProperty', `${key}:${value}`]);
        const input = readPublishQuery(new URLSearchParams(pairs as [string, string][]).toString());
        assert.equal(input.qos, given.qos ?? 1);
        assert.equal(input.expirySeconds, given.expiry ?? -1);
        assert.equal(input.contentType, given.contentType ?? '');
        assert.equal(input.responseTopic, given.responseTopic ?? '');
        assert.equal(input.correlationData?.toString(), given.correlationData);
        assert.equal(input.payloadFormat, given.payloadFormat ?? -1);
        assert.equal(input.isRetained, given.retained ?? false);
        assert.deepEqual(input.userProperties, userProperties);
      },
    ),
  );
});

test('any text is a query or a Problem', () => {
  const names = fc.constantFrom('qos', 'timeout', 'topic', 'userProperty', 'confirm', 'expiry', '', 'x');
  const query = fc.oneof(
    fc.string(),
    fc.array(fc.tuple(names, fc.string()).map(([name, value]) => `${name}=${value}`)).map((all) => all.join('&')),
  );
  fc.assert(
    fc.property(query, (written) => {
      for (const read of [
        readPublishQuery,
        readClientMessageQuery,
        (header: string) => takeUserPropertyHeader(new MessageInput(), header),
      ]) {
        try {
          read(written);
        } catch (error) {
          assert.ok(error instanceof Problem, String(error));
        }
      }
    }),
  );
});
