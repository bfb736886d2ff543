/**
 * `onehop authenticators …`: who judges logins, and those of the broker's file (`auth.file`), which can be changed. Over the HTTP API.
 */
import { readFileSync } from 'node:fs';
import { Api, type ApiOptions, route } from './api-client.ts';
import { Failure } from './failure.ts';
import { count, jsonText, note, print, tables, terminalWidth, visible } from './output.ts';

export interface AddAuthenticatorOptions extends ApiOptions {
  readonly file: string;
  readonly place?: number;
}

interface Row {
  readonly place: number;
  readonly name: string | null;
  readonly isActive: boolean;
  readonly type: string;
  readonly source: string | null;
  readonly accepted: number;
  readonly refused: number;
  readonly failed: number;
  readonly breaker: string | null;
}

interface List {
  readonly allowAnonymous: boolean;
  readonly file: string | null;
  readonly data: readonly Row[];
}

/** `onehop authenticators list`. */
export async function listAuthenticators(options: ApiOptions): Promise<void> {
  const list = await new Api(options).ask<List>('GET', '/api/v1/authenticators');
  if (options.json === true) {
    for (const row of list.data) print(jsonText(row));
    return;
  }
  const columns = [
    { name: 'NAME', isFlexible: true },
    { name: 'TYPE' },
    { name: 'STATE' },
    { name: 'BY', isFlexible: true },
    { name: 'ACCEPTED', align: 'right' },
    { name: 'REFUSED', align: 'right' },
    { name: 'FAILED', align: 'right' },
  ] as const;
  const cells = list.data.map((row) => [
    row.name ?? '(configuration)',
    row.type,
    stateOf(row),
    row.source ?? '',
    count(row.accepted),
    count(row.refused),
    count(row.failed),
  ]);
  for (const line of (await tables())(columns, cells, terminalWidth())) print(line);
  if (list.allowAnonymous) note('who shows no name is let in, too (auth.allowAnonymous)');
  if (list.file === null) note('none can be added: auth.file is not set');
}

function stateOf({ isActive, breaker }: Row): string {
  if (!isActive) return 'off';
  return breaker === null || breaker === 'closed' ? 'on' : `given up: ${breaker}`;
}

/** `onehop authenticators add`: the file holds what `POST /api/v1/authenticators` takes, without the name. */
export async function addAuthenticator(name: string, options: AddAuthenticatorOptions): Promise<void> {
  const facts = factsIn(options.file);
  const query = options.place === undefined ? {} : { place: String(options.place) };
  const list = await new Api(options).ask<List>('POST', '/api/v1/authenticators', { query, body: { ...facts, name } });
  const isActive = list.data.find((row) => row.name === name)?.isActive;
  const what = isActive === false ? 'added; it is off' : 'added; it judges logins from now on';
  print(options.json === true ? jsonText(list) : `${visible(name)}: ${what}`);
}

function factsIn(file: string): object {
  const place = file === '-' ? 'standard input' : file;
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new Failure(`${place}: ${(error as Error).message}`);
  }
  let facts: unknown = null;
  try {
    facts = JSON.parse(text);
  } catch {
    // What is wrong with it is not said: it would quote the text, which holds secrets.
  }
  if (typeof facts !== 'object' || facts === null || Array.isArray(facts)) throw new Failure(`${place}: expected a JSON object`);
  return facts;
}

/** `onehop authenticators on` and `off`. */
export async function switchAuthenticator(name: string, isActive: boolean, options: ApiOptions): Promise<void> {
  const answer = await new Api(options).ask<object>('PATCH', route`/api/v1/authenticators/${name}`, { body: { isActive } });
  print(options.json === true ? jsonText(answer) : `${visible(name)}: ${isActive ? 'on' : 'off; it is not asked'}`);
}

/** `onehop authenticators remove`. */
export async function removeAuthenticator(name: string, options: ApiOptions): Promise<void> {
  const answer = await new Api(options).ask<object>('DELETE', route`/api/v1/authenticators/${name}`);
  print(options.json === true ? jsonText(answer) : `${visible(name)}: removed; clients that it has let in stay connected`);
}
