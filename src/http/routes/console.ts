/**
 * The console: the application for browsers, as `scripts/build-console.mjs` has built it. Its files hold no secret, so they are for anybody; what it shows it asks of
 * the API, with the credentials of whoever has typed them.
 *
 * The files are read once for a shard, when the first is asked for, and are answered from memory; what is not among them is not looked for on the disk.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Call } from '../call.ts';
import { problem } from '../problem.ts';
import { type Answer, type Handled, type Route, route } from '../route.ts';

const GROUP = 'Console';
const FOLDER = fileURLToPath(new URL('../../../console/', import.meta.url));
const PAGE = 'index.html';
/** Vite puts the hash of their content into the names of all files in here. */
const HASHED = 'assets/';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.md': 'text/plain; charset=utf-8',
};

/** Everything comes from here, nothing is inline, and nobody may put the page into a frame. Style sheets have small pictures in them (`data:`). */
const POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const SECURITY: readonly (readonly [string, string])[] = [
  ['Content-Security-Policy', POLICY],
  ['Referrer-Policy', 'no-referrer'],
  ['X-Frame-Options', 'DENY'],
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Permissions-Policy', 'camera=(), microphone=(), geolocation=()'],
];

interface ConsoleFile {
  readonly tag: string;
  readonly answer: Answer;
  /** For who has the file already. */
  readonly same: Answer;
}

/** Of this thread; null until somebody asks. */
let reading: Promise<ReadonlyMap<string, ConsoleFile>> | null = null;
let files: ReadonlyMap<string, ConsoleFile> | null = null;

async function readFiles(): Promise<ReadonlyMap<string, ConsoleFile>> {
  const found = new Map<string, ConsoleFile>();
  for (const entry of await readdir(FOLDER, { recursive: true })) {
    const name = entry.split(sep).join('/');
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const body = await readFile(join(FOLDER, entry));
    const packed = await readFile(join(FOLDER, `${entry}.gz`));
    const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;
    const cache = name.startsWith(HASHED) ? 'public, max-age=31536000, immutable' : 'no-cache';
    const headers = [...SECURITY, ['ETag', tag], ['Cache-Control', cache]] as const;
    found.set(name, { tag, answer: { status: 200, body, packed, type, headers }, same: { status: 304, headers } });
  }
  return found;
}

/** The files; a failed reading is tried again with the next request. */
function allFiles(): Promise<ReadonlyMap<string, ConsoleFile>> {
  reading ??= readFiles().then(
    (found) => {
      files = found;
      return found;
    },
    (error: unknown) => {
      reading = null;
      throw error;
    },
  );
  return reading;
}

function answerFrom(found: ReadonlyMap<string, ConsoleFile>, call: Call, name: string): Answer {
  const file = found.get(name === '' ? PAGE : name);
  if (file === undefined) return problem('not-found', 'the console has no such file');
  const has = call.header('if-none-match');
  return has.includes(file.tag) ? file.same : file.answer;
}

function serveFile(call: Call, name: string): Handled {
  if (!call.shard.settings.http.console) return problem('not-found', 'the console is switched off: see http.console');
  return files === null ? allFiles().then((found) => answerFrom(found, call, name)) : answerFrom(files, call, name);
}

/** Where it is switched off, nothing is at these places. */
function redirect(call: Call): Answer {
  if (!call.shard.settings.http.console) return problem('not-found', 'the console is switched off: see http.console');
  return { status: 302, headers: [['Location', '/console/'], ...SECURITY] };
}

const MOVED = { 302: { description: 'It is at `/console/`.' } };

/** The routes of the console. */
export function consoleRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/',
      name: 'redirectToConsole',
      group: GROUP,
      summary: 'The way to the console',
      role: null,
      ignoresQuery: true,
      problems: ['not-found'],
      answers: MOVED,
      handle: redirect,
    }),
    route({
      method: 'GET',
      path: '/console',
      name: 'redirectToConsolePage',
      group: GROUP,
      summary: 'The way to the console',
      role: null,
      ignoresQuery: true,
      problems: ['not-found'],
      answers: MOVED,
      handle: redirect,
    }),
    route({
      method: 'GET',
      path: '/console/{file...}',
      name: 'getConsoleFile',
      group: GROUP,
      summary: 'The console: the application for browsers',
      description: 'Its page is at `/console/`. Needs no credentials; what it shows does.',
      role: null,
      ignoresQuery: true,
      params: z.object({ file: z.string().describe('Empty: the page itself.') }),
      headers: ['if-none-match'],
      headerFacts: { 'If-None-Match': 'What is there already: the answer is 304 then.' },
      problems: ['not-found'],
      answers: { 200: { description: 'The file.', type: 'text/html' }, 304: { description: 'The client has it.' } },
      example: { params: { file: 'index.html' } },
      handle: (call, { params }) => serveFile(call, params.file),
    }),
  ];
}
