/**
 * Goal: the house rules hold, so that a reader of one file knows what to expect of all.
 * Method: every source is read as text; each rule names what it bans and what to write instead, and lists every place that breaks it.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import test, { describe } from 'node:test';

interface Ban {
  readonly ban: RegExp;
  readonly instead: string;
}

/** Folders of src from the lowest rank up; a folder imports only from folders below it. */
const ranks = [
  'base',
  'protocol',
  'session',
  'routing',
  'journal',
  'access',
  'shard',
  'store',
  'transports',
  'auth',
  'http',
  'server',
  'cli',
];

const skipped = new Set(['node_modules', 'dist', '.git', 'build', '.venv', '__pycache__', 'onehop-data']);

function* filesBelow(folder: string): Generator<string> {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue;
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

const all = [...filesBelow('.')].sort();
/** The application for browsers is no part of the process: it has no rank, and whatever it knows of the broker comes over HTTP. */
const consoleFolder = 'src/console/';
const sources = all.filter((path) => path.startsWith('src/') && path.endsWith('.ts') && !path.startsWith(consoleFolder));
const consoleSources = all.filter((path) => path.startsWith(consoleFolder) && /\.tsx?$/.test(path));
const testSources = all.filter((path) => path.startsWith('test/') && path.endsWith('.ts'));
const texts = all.filter((path) =>
  /\.(tsx?|css|html|mjs|js|json|ya?ml|md|cpp|hpp|h|py|go|sh)$|^\.ci\/run$|Dockerfile$|Makefile$/.test(path),
);
/** This file spells out what it bans, so it cannot be held to it. */
const ownPath = 'test/tidy.test.ts';

function read(path: string): string {
  return readFileSync(path, 'utf8');
}

/** Source with comments and quoted strings blanked, line by line as long as before. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, (found) => found.replace(/[^\n]/g, ' '));
}

/** The text without lines that say why they are seldom reached: `// cold: …`. */
function withoutCold(text: string): string {
  return text.replace(/^.*\/\/ cold: \S.*$/gm, '');
}

/** `path:line: found; instead` for every match of every ban. */
function findings(path: string, text: string, bans: readonly Ban[]): string[] {
  const lines = text.split('\n');
  return bans.flatMap(({ ban, instead }) =>
    lines.flatMap((line, index) => {
      const match = ban.exec(line);
      return match === null ? [] : [`${path}:${index + 1}: "${match[0].trim()}": ${instead}`];
    }),
  );
}

function none(problems: readonly string[]): void {
  assert.equal(problems.length, 0, `\n${problems.join('\n')}`);
}

/** What a source imports by a relative path: static, dynamic and type imports. */
function relativeImports(text: string): string[] {
  return [...text.matchAll(/(?:from|import\(|import)\s*'(\.[^']+)'/g)].map((match) => match[1]!);
}

describe('sources', () => {
  test('there are sources to look at', () => {
    assert.ok(sources.length > 20 && testSources.length > 5 && texts.length > 40);
  });

  test('imports go down the ranks only', () => {
    const problems: string[] = [];
    for (const path of sources) {
      const folder = path.split('/')[1]!;
      const rank = ranks.indexOf(folder);
      if (rank < 0) problems.push(`${path}: src/${folder}/ has no rank; ranks are ${ranks.join(', ')}`);
      for (const target of relativeImports(read(path))) {
        const other = join(dirname(path), target).split('/')[1]!;
        if (other === folder) continue;
        const isBelow = ranks.indexOf(other) < rank && ranks.includes(other);
        const isReach = folder === 'cli' && other !== 'server' && other !== 'base';
        if (!isBelow || isReach)
          problems.push(
            `${path}: imports ${target}; ${folder}/ may import only ${folder === 'cli' ? 'server, base' : ranks.slice(0, rank).join(', ') || 'node:'}`,
          );
      }
    }
    none(problems);
  });

  test('every source opens with a block comment', () => {
    none(
      [...sources, ...consoleSources]
        .filter((path) => !/^(#![^\n]*\n)?\/\*\*?\n \* \S/.test(read(path)))
        .map((path) => `${path}: write first what this noun is, and what it never does`),
    );
  });

  test('files are named after what they hold', () => {
    const vague = /^(utils?|helpers?|common|misc|types|index|.*-?(manager|handler))\.(?!html$)[a-z]+$/;
    const problems = [...sources, ...consoleSources, ...testSources].filter(
      (path) => vague.test(basename(path)) || /\/(utils?|helpers?|common)\//.test(path),
    );
    none(problems.map((path) => `${path}: name it by the noun inside`));
  });
});

describe('the console', () => {
  const bans: Ban[] = [
    { ban: /\bstyle=/, instead: 'a class in style.css; the Content-Security-Policy lets nothing through that is inline' },
    {
      ban: /dangerouslySetInnerHTML|\.innerHTML\b|insertAdjacentHTML|\beval\(|new Function\(/,
      instead: 'elements; text of others must stay text',
    },
    {
      ban: /https?:\/\/(?!www\.w3\.org\/)/,
      instead: 'nothing from elsewhere: the console asks the broker that it came from, and nobody else',
    },
    { ban: /\blocalStorage\.setItem\((?!PLACE, theme)/, instead: 'sessionStorage; credentials and data end with the tab' },
  ];

  test('imports nothing of the broker, and the broker nothing of it', () => {
    const out = consoleSources.flatMap((path) =>
      relativeImports(read(path))
        .filter((target) => !join(dirname(path), target).startsWith(consoleFolder))
        .map((target) => `${path}: imports ${target}; it may import its own folder and packages only`),
    );
    const into = sources.flatMap((path) =>
      relativeImports(read(path))
        .filter((target) => join(dirname(path), target).startsWith(consoleFolder))
        .map((target) => `${path}: imports ${target}, which is made for browsers`),
    );
    assert.ok(consoleSources.length > 20);
    none([...out, ...into]);
  });

  test('has nothing inline, nothing from elsewhere, and makes no text into elements', () => {
    none(
      [...consoleSources, `${consoleFolder}index.html`, `${consoleFolder}style.css`].flatMap((path) => findings(path, read(path), bans)),
    );
  });
});

describe('words', () => {
  const bans: Ban[] = [
    { ban: /\b(TODO|FIXME|XXX)\b/, instead: 'do it now, or say in a sentence what the limit is' },
    { ban: /(^|[\s"'`(=])\/(root|home|work|Users)\//, instead: 'no path of one machine; take it from the place of the file or the system' },
    {
      ban: /registry\.npmjs|npmmirror|registry\.yarnpkg|proxy\.golang\.org|pypi\.org|files\.pythonhosted|deb\.debian\.org/,
      instead: 'no registry host; the package manager knows its own',
    },
  ];

  test('nothing is put off, and nothing belongs to one machine', () => {
    none(texts.filter((path) => path !== ownPath).flatMap((path) => findings(path, read(path), bans)));
  });
});

describe('hot path', () => {
  const bans: Ban[] = [
    { ban: /(?<!\.)\basync\b/, instead: 'plain functions and return codes; promises belong to start and stop' },
    { ban: /\bawait /, instead: 'plain calls; a promise per packet costs more than the packet' },
    { ban: /\bPromise\b/, instead: 'plain calls; a promise per packet costs more than the packet' },
    { ban: /\bthrow /, instead: 'return a ReasonCode; for a fault of ours call assert from base/assert.ts' },
    { ban: /\btry \{/, instead: 'code that returns its failures' },
    { ban: /\.map\(/, instead: 'a loop over what is there' },
    { ban: /\.filter\(/, instead: 'a loop over what is there' },
    { ban: /\bJSON\./, instead: 'bytes; JSON is written where events are made' },
    { ban: /\bnew Error\b/, instead: 'return a ReasonCode; for a fault of ours call assert from base/assert.ts' },
    { ban: /`/, instead: 'no string per message; say it where a person reads it' },
    { ban: /\bBuffer\.concat\b/, instead: 'copy into one buffer with set or copyBytes' },
    { ban: /\.toString\(/, instead: 'bytes; latin1Slice or utf8Slice where a string is really needed' },
  ];
  const hot = sources.filter((path) => /^ \* (.* )?Hot path\.$/m.test(read(path)));

  test('some files are marked', () => {
    assert.ok(hot.length > 10);
  });

  test('marked files make no promise, exception, closure list or string per message', () => {
    none(hot.flatMap((path) => findings(path, code(withoutCold(read(path))), bans)));
  });
});

describe('tests', () => {
  const bans: Ban[] = [
    { ban: /\b(test|describe|it|suite|t|context)\.(skip|only|todo)\(/, instead: 'a test runs, or it is deleted' },
    { ban: /\b(skip|todo):|\bonly: true/, instead: 'a test runs, or it is deleted' },
    { ban: /\bawait (sleep|delay|wait)\(\d/, instead: 'wait for what must happen, not for time to pass' },
    { ban: /=> setTimeout\(\w+,/, instead: 'wait for what must happen, not for time to pass' },
    { ban: /timers\/promises/, instead: 'wait for what must happen, not for time to pass' },
  ];

  test('none is skipped, and none waits for time to pass', () => {
    none(testSources.filter((path) => path !== ownPath).flatMap((path) => findings(path, code(read(path)), bans)));
  });

  test('imports of banned modules are found in the strings too', () => {
    none(testSources.filter((path) => path !== ownPath).flatMap((path) => findings(path, read(path), [bans.at(-1)!])));
  });

  test('every test opens with its goal and method', () => {
    const problems = testSources.filter((path) => path.endsWith('.test.ts') && !/^(\/\*\*?|\/\/)/.test(read(path)));
    none(problems.map((path) => `${path}: say first what is shown, and how`));
  });
});

describe('pages', () => {
  const pages = all.filter((path) => path.endsWith('.md'));

  test('relative links lead somewhere', () => {
    const problems = pages.flatMap((path) =>
      [...read(path).matchAll(/\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"/g)].flatMap((match) => {
        const target = (match[1] ?? match[2]!).split('#')[0]!;
        if (target === '' || /^[a-z]+:/.test(target)) return [];
        return existsSync(join(dirname(path), target)) ? [] : [`${path}: ${target} is not there`];
      }),
    );
    none(problems);
  });

  test('docs/dependencies.md names every package of package.json, and no other', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >;
    const rows = (title: string): string[] => {
      const part =
        read('docs/dependencies.md')
          .split(/^## /m)
          .find((text) => text.startsWith(title)) ?? '';
      return [...part.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1]!);
    };
    assert.deepEqual(rows('Production').sort(), Object.keys(dependencies).sort());
    assert.deepEqual(rows('Development').sort(), Object.keys(devDependencies).sort());
  });

  test('a production package is loaded in one file only', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    const problems = Object.keys(dependencies).flatMap((name) => {
      const values = new RegExp(
        `^import (?!type )[^;]*'${name}(/\\w+)?'|import\\('${name}(/\\w+)?'\\)|\\)\\('${name}'\\)|resolve\\('${name}/`,
        'm',
      );
      const users = sources.filter((path) => values.test(read(path)));
      const folders = new Set(users.map((path) => dirname(path)));
      // It says what comes from outside: the configuration, and requests.
      if (name === 'zod') for (const folder of folders) if (/^src\/http\b/.test(folder)) folders.delete(folder);
      if (users.length === 0) return [`${name} is not used: remove it from package.json`];
      return folders.size > 1 ? [`${name} is used in ${users.join(', ')}: keep each package behind one folder`] : [];
    });
    none(problems);
  });

  test('the package has no file that is larger than a page or a source needs', () => {
    none(texts.filter((path) => statSync(path).size > 2_000_000).map((path) => `${path}: make it smaller, or make it when it is needed`));
  });
});
