/*
 * Goal: tables fit the terminal, and nothing that a client calls itself can steer it.
 * Method: the functions themselves, over names that are long, wide or hostile.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { bytes, duration, jsonText, tables, visible } from '../../src/cli/output.ts';

const COLUMNS = [
  { name: 'CLIENT', isFlexible: true },
  { name: 'USER', isFlexible: true },
  { name: 'QUEUED', align: 'right' },
] as const;

describe('output', () => {
  test('what could steer a terminal is written out', () => {
    assert.equal(visible('\u001b[2Jpump\u0000\u009b\u007f'), '\\x1b[2Jpump\\x00\\x9b\\x7f');
    assert.equal(visible('a\u202eb\ufeff\u2066'), 'a\\u{202e}b\\u{feff}\\u{2066}');
    assert.equal(visible('Pumpe Süd 日本 😀'), 'Pumpe Süd 日本 😀');
    const hostile = { name: '\u001b]0;x\u0007\u009b1m\u202e\u{e0001}\ud800', lines: ['a\nb'] };
    for (const indent of [0, 2]) {
      assert.doesNotMatch(jsonText(hostile, indent).replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
      assert.deepEqual(JSON.parse(jsonText(hostile, indent)), hostile, 'a program reads the same');
    }
  });

  test('a table is as wide as the terminal, at most', async () => {
    const table = await tables();
    const rows = [
      ['x'.repeat(60), 'ann', '1'],
      ['日本語日本語日本語日本語日本語', 'a-user-with-a-long-name', '1,000'],
    ];
    assert.deepEqual(table(COLUMNS, rows.slice(1), null), [
      'CLIENT                          USER                     QUEUED',
      '日本語日本語日本語日本語日本語  a-user-with-a-long-name   1,000',
    ]);
    assert.deepEqual(table(COLUMNS, rows, 40), [
      'CLIENT           USER             QUEUED',
      'xxxxxxxxxxxxxx…  ann                   1',
      '日本語日本語日…  a-user-with-a-…   1,000',
    ]);
    for (let width = 20; width < 120; width++)
      for (const line of table(COLUMNS, rows, width)) assert.ok((await columnsOf(line)) <= width, `${width}: ${line}`);
  });

  test('numbers for people', () => {
    assert.deepEqual([0, 999, 1000, 12_345, 123_456_789, 5e15].map(bytes), ['0 B', '999 B', '1.0 kB', '12.3 kB', '123 MB', '5000 TB']);
    assert.deepEqual([0, 59, 60, 3_599, 3_600, 3_661, 90_000, 86_460].map(duration), [
      '0s',
      '59s',
      '1m',
      '59m 59s',
      '1h',
      '1h 1m',
      '1d 1h',
      '1d',
    ]);
  });
});

async function columnsOf(line: string): Promise<number> {
  const { default: width } = await import('string-width');
  return width(line);
}
