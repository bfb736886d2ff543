/**
 * What `onehop block` does to a file of rules.
 */
import { existsSync } from 'node:fs';
import { type BlockRecord, readBlockFile, writeBlockFile } from './block-file.ts';
import { forCommand, whileLocked } from './record-file.ts';

export type { BlockRecord } from './block-file.ts';

/** The rules of a file. @throws StartError with one line */
export function readBlocks(file: string): BlockRecord[] {
  return forCommand(() => readBlockFile(file));
}

/** Whether a rule has ended by itself. */
export function hasEnded({ expiresAt }: BlockRecord): boolean {
  return expiresAt !== '' && Date.parse(expiresAt) <= Date.now();
}

/** Reads the file, changes the list, writes it without the rules that have ended. @throws StartError with one line, and what `edit` throws */
export function changeBlocks(file: string, edit: (rules: BlockRecord[]) => BlockRecord[]): void {
  whileLocked(file, () => {
    const rules = edit(existsSync(file) ? readBlocks(file) : []).filter((rule) => !hasEnded(rule));
    writeBlockFile(file, rules);
  });
}
