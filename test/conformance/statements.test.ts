/*
 * Goal: no normative statement of MQTT 5.0 and 3.1.1 is forgotten, and the conformance data are sound.
 * Method: counts the statements by section against the appendices of the standards, checks that each has a proof or a reason, that scripts
 * name only numbers that exist, that all notation parses, and that docs/conformance.md is what the data say.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { CONFORMANCE_DOCUMENT, conformanceDocument } from './document.ts';
import { parseNotation } from './notation.ts';
import { loadProfiles, loadScripts, loadStatements, loadTemplates, type Protocol, type Script, scriptsOf, sourceRoot } from './scripts.ts';

/** Statements of each section, counted in the appendices B: `section:first-last`. */
const NUMBERING: Readonly<Record<'5.0' | '3.1.1', string>> = {
  '5.0': `1.5.4:1-3 1.5.5:1-1 1.5.7:1-1 2.1.3:1-1 2.2.1:2-6 2.2.2:1-1 3.1.0:1-2 3.1.2:1-30 3.1.3:1-12 3.1.4:1-6 3.2.0:1-2 3.2.2:1-22
    3.3.1:1-13 3.3.2:1-20 3.3.4:1-10 3.4.2:1-3 3.5.2:1-3 3.6.1:1-1 3.6.2:1-3 3.7.2:1-3 3.8.1:1-1 3.8.3:1-5 3.8.4:1-8 3.9.2:1-2 3.9.3:1-2
    3.10.1:1-1 3.10.3:1-2 3.10.4:1-6 3.11.2:1-2 3.11.3:1-2 3.12.4:1-1 3.14.0:1-1 3.14.1:1-1 3.14.2:1-4 3.14.4:1-3 3.15.1:1-1 3.15.2:1-3
    4.1.0:1-2 4.2.0:1-1 4.3.1:1-1 4.3.2:1-5 4.3.3:1-13 4.4.0:1-2 4.5.0:1-2 4.6.0:1-6 4.7.0:1-1 4.7.1:1-2 4.7.2:1-1 4.7.3:1-4 4.8.2:1-6
    4.9.0:1-3 4.12.0:1-7 4.12.1:1-2 4.13.1:1-1 4.13.2:1-1 6.0.0:1-4`,
  '3.1.1': `1.5.3:1-3 2.2.2:1-2 2.3.1:1-7 3.1.0:1-2 3.1.2:1-24 3.1.3:1-11 3.1.4:1-5 3.2.0:1-1 3.2.2:1-6 3.3.1:1-12 3.3.2:1-3 3.3.4:1-1
    3.3.5:1-2 3.6.1:1-1 3.8.1:1-1 3.8.3:1-4 3.8.4:1-6 3.9.3:1-2 3.10.1:1-1 3.10.3:1-2 3.10.4:1-6 3.12.4:1-1 3.14.1:1-1 3.14.4:1-3
    4.1.0:1-2 4.3.1:1-1 4.3.2:1-2 4.3.3:1-2 4.4.0:1-1 4.5.0:1-2 4.6.0:1-6 4.7.1:1-3 4.7.2:1-1 4.7.3:1-4 4.8.0:1-2 6.0.0:1-4 7.0.0:1-2
    7.1.1:1-1 7.1.2:1-1`,
};

const statements = loadStatements();
const scripts = loadScripts();

test('the statements are those of the appendices, each once and in order', () => {
  for (const protocol of ['5.0', '3.1.1'] as const) {
    const listed = statements.filter((statement) => statement.protocol === protocol).map((statement) => statement.number);
    assert.deepEqual(listed, numbersOf(NUMBERING[protocol]));
  }
});

test('every statement has scripts, a test or a reason, and not both proof and reason', () => {
  for (const statement of statements) {
    const proved = scriptsOf(statement, scripts).length > 0 || statement.test !== undefined;
    assert.notEqual(proved, statement.reason !== undefined, `${statement.number} of ${statement.protocol}`);
    if (statement.test !== undefined) {
      assert.ok(existsSync(join(sourceRoot(), statement.test)), `${statement.number} names ${statement.test}`);
    }
  }
});

test('scripts name statements of their protocol and a profile that exists, and no two have the same name', () => {
  const known = new Set(statements.map((statement) => `${statement.protocol} ${statement.number}`));
  const profiles = new Set(Object.keys(loadProfiles()));
  const names = new Set<string>();
  for (const script of scripts) {
    for (const number of script.statements) {
      assert.ok(known.has(`${script.protocol} ${number}`), `${script.file} · ${script.name}: ${number}`);
    }
    assert.ok(profiles.has(script.profile), `${script.file} · ${script.name}: ${script.profile}`);
    const name = `${script.file} ${script.name}`;
    assert.ok(!names.has(name), `twice: ${name}`);
    names.add(name);
  }
});

test('the notation of every step parses', () => {
  for (const script of scripts) {
    for (const text of notationsOf(script)) {
      assert.doesNotThrow(() => parseNotation(text, templatesOf(script.protocol), () => 'x'), `${script.file} · ${script.name}`);
    }
  }
});

test('docs/conformance.md is up to date; `npm run docs` writes it', () => {
  assert.equal(readFileSync(join(sourceRoot(), CONFORMANCE_DOCUMENT), 'utf8'), conformanceDocument());
});

function numbersOf(sections: string): string[] {
  const numbers: string[] = [];
  for (const part of sections.split(/\s+/)) {
    const [section, range] = part.split(':') as [string, string];
    const [first, last] = range.split('-').map(Number) as [number, number];
    for (let number = first; number <= last; number++) {
      numbers.push(`MQTT-${section}-${number}`);
    }
  }
  return numbers;
}

const templates = new Map((['3.1', '3.1.1', '5.0'] as const).map((protocol) => [protocol, loadTemplates(protocol)]));

function templatesOf(protocol: Protocol): NonNullable<ReturnType<typeof templates.get>> {
  return templates.get(protocol)!;
}

function notationsOf(script: Script): string[] {
  return script.steps.flatMap((step) => {
    if (typeof step === 'string') {
      if (/^\w+ (scram|proves)/.test(step)) return [];
      return [step.replace(/^\w+ (>|<|open|drop|closed|refused|rejected-filter|rejected|quiet) ?/, '')];
    }
    if ('unordered' in step) {
      return step.unordered.map((line) => line.replace(/^\w+ < /, ''));
    }
    if ('shared' in step) {
      return [step.shared, step.until];
    }
    return [step.seek.replace(/^\w+ < /, ''), step.never ?? ''];
  });
}
