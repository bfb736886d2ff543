/**
 * The thread that copies a store while its broker goes on: as `onehop store backup` does from another process.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { backupStore } from './store-commands-copy.ts';

export interface BackupStart {
  readonly directory: string;
  readonly target: string;
}

export type FromBackupThread =
  | { readonly kind: 'progress'; readonly records: number; readonly of: number }
  | { readonly kind: 'done'; readonly records: number; readonly bytes: number }
  | { readonly kind: 'failed'; readonly error: string };

/** Records between two words about how far it is. */
const PROGRESS_RECORDS = 1000;

assert(parentPort !== null, 'a copy is made on a thread');
const port = parentPort;
const { directory, target } = workerData as BackupStart;

function tell(message: FromBackupThread): void {
  port.postMessage(message);
}

backupStore(directory, target, (records, of) => {
  if (records % PROGRESS_RECORDS === 0) tell({ kind: 'progress', records, of });
}).then(
  ({ records, bytes }) => tell({ kind: 'done', records, bytes }),
  (error: Error) => tell({ kind: 'failed', error: error.message }),
);
