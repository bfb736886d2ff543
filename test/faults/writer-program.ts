/*
 * A process that writes with LMDB and does what its parent says: the smallest thing that the fault layer can be tried on. It answers each request once.
 */
import { writeFileSync } from 'node:fs';
import { open } from 'lmdb';

/** `key` is the key to write, the path of a file elsewhere, or nothing. */
export interface WriterRequest {
  readonly ask: 'put' | 'reopen' | 'keys' | 'write-elsewhere';
  readonly key?: string;
}

export interface WriterAnswer {
  readonly keys?: readonly string[];
  readonly error?: string;
}

const path = process.argv[2]!;
let database = open<string, string>({ path });

async function answer({ ask, key }: WriterRequest): Promise<WriterAnswer> {
  switch (ask) {
    case 'put':
      database.transactionSync(() => database.putSync(key!, key!.repeat(500)));
      return {};
    case 'reopen':
      await database.close();
      database = open({ path });
      return {};
    case 'keys':
      return { keys: [...database.getKeys()].filter((one) => database.get(one) === one.repeat(500)) };
    default:
      writeFileSync(key!, 'x'.repeat(10_000), { flush: true });
      return {};
  }
}

process.on('message', (request: WriterRequest) => {
  answer(request).then(
    (result) => process.send!(result),
    (error: Error) => process.send!({ error: error.message }),
  );
});
