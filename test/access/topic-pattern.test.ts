/*
 * Goal: patterns match what they say, and a subscription is covered by, or overlaps, a pattern exactly when the topics say so.
 * Method: random patterns and filters over a small alphabet of levels; every topic of up to three levels is asked of both by regular expressions, and the answers
 * of the code are compared with what these sets of topics have in common.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { literalPattern, patternMatches, readPattern } from '../../src/access/pattern.ts';
import {
  bindTopic,
  covers,
  NO_VARIABLES,
  overlaps,
  readFilter,
  readTopic,
  type TopicPattern,
  topicMatches,
} from '../../src/access/topic-pattern.ts';
import '../protocol/seed.ts';

const NAMES = ['', 'a', 'b', 'ab', 'ba', '$', '$a', '$b'];

const topics = ['a', 'b', 'ab', 'ba', '$', '$a', '$b', ...NAMES.flatMap((one) => NAMES.map((two) => `${one}/${two}`))];
for (const one of NAMES) for (const two of NAMES) for (const three of NAMES) topics.push(`${one}/${two}/${three}`);

function pattern(text: string): TopicPattern {
  return bindTopic(readTopic(text), NO_VARIABLES);
}

/** The same as a regular expression. */
function expression(text: string): RegExp {
  const levels = text.split('/').map((level) => {
    if (level === '+') return '[^/]*';
    return level === '#' ? '#' : level.replace(/[$]/g, '\\$&').replaceAll('*', '[^/]*');
  });
  const body = levels.join('/').replace(/\/#$/, '(/.*)?').replace(/^#$/, '.+');
  return new RegExp(`^${/^[+#*]/.test(text) ? '(?!\\$)' : ''}${body}$`);
}

function known(text: string): Set<string> {
  const matches = expression(text);
  return new Set(topics.filter((topic) => matches.test(topic)));
}

const sets = new Map<string, Set<string>>();
function topicsOf(text: string): Set<string> {
  let found = sets.get(text);
  if (found === undefined) {
    found = known(text);
    sets.set(text, found);
  }
  return found;
}

/** One or two levels of these, and perhaps `#`. */
function filters(levels: readonly string[]): fc.Arbitrary<string> {
  return (
    fc
      .tuple(fc.array(fc.constantFrom(...levels), { maxLength: 2 }), fc.boolean())
      .map(([list, hasHash]) => [...list, ...(hasHash ? ['#'] : [])].join('/'))
      // `/#` stands for the topic without characters as well, which does not exist: the code need not know, and errs on the safe side.
      .filter((text) => text !== '' && text !== '/#')
  );
}

const asked = filters([...NAMES, '+', '+']);
const written = filters([...NAMES, '+', '*', 'a*', '*b', 'a*b', '*a*', '$*', '**']);

describe('topics of statements', () => {
  test('a pattern matches the topics that it says', () => {
    fc.assert(
      fc.property(written, fc.constantFrom(...topics), (text, topic) => {
        const bytes = Buffer.from(`/${topic}/`);
        assert.equal(topicMatches(pattern(text), bytes, 1, bytes.length - 1), topicsOf(text).has(topic), `${text} and ${topic}`);
      }),
      { numRuns: 20_000 },
    );
  });

  test('a filter is covered when each of its topics is one of the pattern', () => {
    fc.assert(
      fc.property(written, asked, (text, filter) => {
        const all = topicsOf(text);
        const expected = [...topicsOf(filter)].every((topic) => all.has(topic));
        assert.equal(covers(pattern(text), readFilter(filter)), expected, `${text} covers ${filter}`);
      }),
      { numRuns: 20_000 },
    );
  });

  test('a filter overlaps when one of its topics is one of the pattern', () => {
    fc.assert(
      fc.property(written, asked, (text, filter) => {
        const all = topicsOf(text);
        const expected = [...topicsOf(filter)].some((topic) => all.has(topic));
        assert.equal(overlaps(pattern(text), readFilter(filter)), expected, `${text} overlaps ${filter}`);
      }),
      { numRuns: 20_000 },
    );
  });

  test('what the words of the contract say', () => {
    assert.equal(covers(pattern('a/#'), readFilter('a/+')), true);
    assert.equal(covers(pattern('a/+'), readFilter('a/#')), false);
    assert.equal(covers(pattern('#'), readFilter('$SYS/#')), false);
    assert.equal(covers(pattern('$SYS/#'), readFilter('$SYS/broker/+')), true);
    assert.equal(overlaps(pattern('a/secret'), readFilter('#')), true);
    assert.equal(overlaps(pattern('a/secret'), readFilter('+/secret')), true);
    assert.equal(overlaps(pattern('$SYS/secret'), readFilter('#')), false);
  });
});

describe('patterns', () => {
  test('as regular expressions say, whole characters at a time', () => {
    const characters = fc.constantFrom('a', 'b', 'ü', '€', '😀', '*', '?');
    const text = fc.array(characters, { maxLength: 6 }).map((list) => list.join(''));
    fc.assert(
      fc.property(text, text, (one, value) => {
        const body = one.replaceAll('*', '.*').replaceAll('?', '.');
        const bytes = Buffer.from(value);
        assert.equal(
          patternMatches(readPattern(one, true), bytes, 0, bytes.length),
          new RegExp(`^${body}$`, 'u').test(value),
          `${one} and ${value}`,
        );
        assert.equal(patternMatches(literalPattern(one), bytes, 0, bytes.length), one === value);
      }),
      { numRuns: 20_000 },
    );
  });
});
