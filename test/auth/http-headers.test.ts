/*
 * Goal: User Properties as headers. What a client shows is one header of its own name, and never one that means something to HTTP, to a proxy or to the configuration.
 * Method: names and values of a hostile client.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { userPropertyHeaders } from '../../src/auth/http-headers.ts';

test('names that may be headers, values on one line', () => {
  const shown: [string, string][] = [
    ['Region', 'eu'],
    ['x-note', 'a\r\nx-admin: 1'],
    ['x-note', 'ü'],
    ['__proto__', 'p'],
  ];
  const headers = userPropertyHeaders(shown, []);
  assert.deepEqual(Object.entries(headers), [
    ['region', 'eu'],
    ['x-note', 'a%0D%0Ax-admin:%201, %C3%BC'],
    ['__proto__', 'p'],
  ]);
});

test('names that may not', () => {
  const names = [
    '',
    'a b',
    'a:b',
    'a\r\nb',
    'ü',
    'x'.repeat(65),
    'Host',
    'host',
    'Content-Length',
    'content_length',
    'Transfer-Encoding',
    'TE',
    'Connection',
    'Authorization',
    'Proxy-Authorization',
    'Cookie',
    'Expect',
    'Upgrade',
    'X-Forwarded-For',
    'x_forwarded_for',
    'X-Real-IP',
    'Forwarded',
    'X-Token',
  ];
  assert.deepEqual(
    userPropertyHeaders(
      names.map((name) => [name, 'v']),
      ['x-token', 'X_Own'],
    ),
    {},
  );
  assert.deepEqual(
    userPropertyHeaders(
      [
        ['x_own', 'v'],
        ['x-own', 'v'],
      ],
      ['X-Own'],
    ),
    {},
    'what is written cannot be replaced',
  );
});

test('so many, and so much', () => {
  assert.equal(
    Object.keys(
      userPropertyHeaders(
        Array.from({ length: 100 }, (_, n) => [`h${n}`, 'v'] as const),
        [],
      ),
    ).length,
    32,
  );
  assert.deepEqual(
    Object.keys(
      userPropertyHeaders(
        [
          ['a', 'v'],
          ['b', 'v'.repeat(5000)],
          ['c', 'v'],
        ],
        [],
      ),
    ),
    ['a'],
  );
});
