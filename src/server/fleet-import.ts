/**
 * FleetImport: an import of devices for the API, from the bytes of a request to those of its answer, on the thread that changes files. Neither the supervisor nor a shard
 * looks into a list of many devices as a whole: what the supervisor must know comes in pieces, each short enough for one of its turns.
 */
import { importDevices } from './device-import.ts';
import { deviceRows } from './device-rows.ts';
import type { FileStamps } from './record-file.ts';
import { StartError } from './start-error.ts';

/** Rows of one import. */
export const IMPORT_ROWS_MAX = 20_000;
/** Rows that are wrong and named when nothing was changed. */
const NAMED_MAX = 100;
/** Devices in one piece: about a millisecond of the supervisor. */
const PIECE_DEVICES = 250;

export interface ImportAsked {
  readonly file: string;
  /** The list as it has come, in shared memory. */
  readonly text: Uint8Array;
  readonly replaces: boolean;
  readonly skipsWrong: boolean;
}

/** What an import has come to. */
export interface ImportDone {
  readonly counts: { readonly added: number; readonly replaced: number; readonly refused: number };
  /** Why nothing was changed, row by row; empty: something was. */
  readonly faults: readonly { readonly at: string; readonly message: string }[];
  /** The answer, as JSON. */
  readonly answer: Uint8Array;
  /** Devices that are others now: lists of them as JSON. */
  readonly pieces: readonly string[];
  readonly stamps: FileStamps;
}

/** @throws StartError with one line */
export async function importFleet({ file, text, ...options }: ImportAsked): Promise<ImportDone> {
  const rows = await deviceRows(Buffer.from(text).toString('utf8'), IMPORT_ROWS_MAX);
  if (rows.length === 0) throw new StartError('there is no device in it', 1, 'invalid');
  if (rows.length > IMPORT_ROWS_MAX)
    throw new StartError(`at most ${IMPORT_ROWS_MAX} rows are taken at once; send the rest after them`, 1, 'invalid');
  const { isDone, added, replaced, refused, rows: results, changed, stamps } = importDevices(file, rows, options);
  const wrong = isDone ? [] : results.filter(({ outcome }) => outcome === 'refused').slice(0, NAMED_MAX);
  const faults = wrong.map(({ line, problem }) => ({ at: `line ${line}`, message: problem! }));
  const pieces: string[] = [];
  for (let at = 0; at < changed.length; at += PIECE_DEVICES) pieces.push(JSON.stringify(changed.slice(at, at + PIECE_DEVICES)));
  const answer = isDone ? JSON.stringify({ added, replaced, refused, rows: results }) : '';
  return { counts: { added, replaced, refused }, faults, answer: new TextEncoder().encode(answer), pieces, stamps };
}
