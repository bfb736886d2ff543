/**
 * StoreCommandsTransfer: a store as lines of JSON, out and in. The lines are told by `store/export-format.ts`.
 *
 * An export reads one moment of a store, also while a broker uses it. An import makes a new store, complete or not at all: it writes beside the place, and moves
 * the file there when its last line has come and everything is on disk.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endLine, headLine, holderLine, itemLine } from '../store/export-format.ts';
import { type ImportCounts, Importer, LineProblem } from '../store/import-format.ts';
import { FRESH_DIRECTORY, LogStore } from '../store/log-store.ts';
import { replaceFile } from '../store/salvage.ts';
import type { ContentCounts } from '../store/store-contents.ts';
import { StoreError } from '../store/store-error.ts';
import { StoreLock } from '../store/store-lock.ts';
import { StoreWriter } from '../store/store-writer.ts';
import { explained, type Progress, readContents, refuseDamage, StoreCommandError, withReader } from './store-commands.ts';

const CHUNK_BYTES = 256 * 1024;

/**
 * Writes a store as lines.
 * @param write takes text; it resolves when more may come
 * @throws StoreCommandError, also where the store is damaged: half of it must not look like all of it
 */
export function exportStore(directory: string, write: (text: string) => Promise<void>, progress: Progress): Promise<ContentCounts> {
  return explained(() =>
    withReader(directory, async (reader) => {
      const contents = readContents(reader, progress, (damage) => refuseDamage(reader, damage));
      if (reader.meta === null) throw new StoreError('damaged', `store: ${reader.file}: what is known of the whole store is missing`, 0);
      let lines = 0;
      let text = `${JSON.stringify(headLine(reader.meta))}\n`;
      const add = async (line: object): Promise<void> => {
        lines++;
        text += `${JSON.stringify(line)}\n`;
        if (text.length < CHUNK_BYTES) return;
        const chunk = text;
        text = '';
        await write(chunk);
      };
      for (const holder of contents.holders.values()) await add(holderLine(holder));
      for (const item of reader.items()) {
        if (item.kind !== 'record' || !reader.counts(item.count)) continue;
        for (const live of contents.liveItems(item)) await add(itemLine(item.bytes, live));
      }
      await reader.confirm();
      // The last line only where all before it is of one moment.
      await write(`${text}${JSON.stringify(endLine(lines))}\n`);
      return contents.counts;
    }),
  );
}

/**
 * Makes a store of lines.
 * @param source name of where the lines come from, for messages
 * @throws StoreCommandError when there is a store already, or with the first line that is wrong
 */
export function importStore(directory: string, source: string, lines: AsyncIterable<string>): Promise<ImportCounts> {
  return explained(async () => {
    refuseExisting(directory);
    const isNew = !existsSync(directory);
    const lock = new StoreLock(directory);
    const fresh = join(directory, FRESH_DIRECTORY);
    let isDone = false;
    try {
      refuseExisting(directory);
      const counts = await writeLines(fresh, source, lines);
      replaceFile(directory, fresh);
      isDone = true;
      return counts;
    } finally {
      rmSync(isNew && !isDone ? directory : fresh, { recursive: true, force: true });
      lock.release();
    }
  }, directory);
}

function refuseExisting(directory: string): void {
  if (!existsSync(join(directory, 'data.mdb'))) return;
  throw new StoreCommandError(`${directory} holds a store already; import into another directory, or move that one away`);
}

async function writeLines(fresh: string, source: string, lines: AsyncIterable<string>): Promise<ImportCounts> {
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  const store = new LogStore(fresh, 'none');
  try {
    const writer = new StoreWriter(store, []);
    const importer = new Importer(writer);
    let number = 0;
    for await (const line of lines) {
      number++;
      if (line.trim() === '') continue;
      try {
        importer.take(line);
      } catch (error) {
        if (error instanceof LineProblem) throw new StoreCommandError(`${source}:${number}: ${error.message}; nothing was imported`);
        throw error;
      }
    }
    if (!importer.isComplete) throw new StoreCommandError(`${source}: the last line is missing, the file is cut off; nothing was imported`);
    store.writeMeta({ ...store.meta, shards: 1, epoch: importer.epoch });
    writer.finish();
    return importer.counts;
  } finally {
    await store.close();
  }
}
