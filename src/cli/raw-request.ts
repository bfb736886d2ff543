/**
 * `onehop api`: any request to the HTTP API with the address and the key of the other commands.
 *
 * Invariant: standard output is the body of the answer and nothing else; exit code 0 means that the status is below 400.
 */
import { readFileSync } from 'node:fs';
import { Api, type ApiOptions, keyHint, needsRole, problemOf } from './api-client.ts';
import { Failure } from './failure.ts';
import { jsonText, note, print, standardOutput, visible } from './output.ts';

export interface RawOptions extends ApiOptions {
  readonly data?: string;
  readonly header?: readonly string[];
  /** Print status and headers to standard error. */
  readonly include?: boolean;
}

/** @param place a path; one without a slash at its beginning is below /api/v1/ @returns exit code */
export async function rawRequest(method: string, place: string, options: RawOptions): Promise<number> {
  const path = place.startsWith('/') ? place : `/api/v1/${place}`;
  const headers: Record<string, string> = {};
  for (const header of options.header ?? []) {
    const at = header.indexOf(':');
    if (at < 1) throw new Failure(`--header ${header}: expected "name: value"`, 2);
    headers[header.slice(0, at).toLowerCase()] = header.slice(at + 1).trim();
  }
  const body = options.data === undefined ? undefined : bodyOf(options.data);
  if (body !== undefined) headers['content-type'] ??= 'application/json';
  const api = new Api(options);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const response = await api.send(method.toUpperCase(), path, { ...(body !== undefined && { body }), headers, signal: stop.signal });
  if (options.include === true) {
    note(`${response.status} ${response.statusText}`);
    for (const [name, value] of response.headers) note(`${name}: ${value}`);
  }
  let text = '';
  const type = response.headers.get('content-type') ?? '';
  try {
    if (/[/+]json\b/.test(type)) {
      text = await response.text();
      printJson(text);
    } else for await (const chunk of response.body ?? []) standardOutput().write(process.stdout.isTTY ? visibleLines(chunk) : chunk);
  } catch (error) {
    if (!stop.signal.aborted) throw new Failure(`the connection to ${api.url} broke: ${(error as Error).message}`);
  }
  if (response.ok) return 0;
  if (response.status === 401 || needsRole(problemOf(text))) note(`onehop: ${keyHint()}`);
  return 1;
}

function visibleLines(chunk: Uint8Array): string {
  return Buffer.from(chunk).toString('utf8').split('\n').map(visible).join('\n');
}

/** For a person with line breaks, for a program as it came. */
function printJson(text: string): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  print(process.stdout.isTTY && value !== undefined ? jsonText(value, 2) : text);
}

/** The text itself, a file (`@name`), or standard input (`@-`). */
function bodyOf(data: string): Uint8Array<ArrayBuffer> {
  if (!data.startsWith('@')) return new Uint8Array(Buffer.from(data));
  const file = data.slice(1);
  try {
    return new Uint8Array(readFileSync(file === '-' ? 0 : file));
  } catch (error) {
    throw new Failure(`${file}: cannot read this: ${(error as Error).message}`);
  }
}
