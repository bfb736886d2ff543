/*
 * Somebody who has a broker compact its store, again and again, as long as it lives; so whatever ends the broker ends a compaction at some point of its own.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { addApiKey } from '../../src/server/api-key-commands.ts';
import { FRESH_DIRECTORY } from '../../src/store/log-store.ts';
import type { BrokerOptions, TestBroker } from '../support/broker.ts';
import { storeDirectory } from '../support/store-directory.ts';

/** What a broker says that ends. */
const STOPPING = /the broker stops|cannot answer this now/;

export class Compactor {
  /** What the broker is started with: a second listener, for HTTP. */
  readonly options: BrokerOptions;
  /** Compactions that were completed, and those whose broker has left half of a new file. */
  done = 0;
  halves = 0;
  /** Answers that say neither that it is done nor why the broker could not. */
  readonly problems: string[] = [];
  private readonly key: string;
  private readonly directory: string;
  private task: Promise<void> = Promise.resolve();

  /** @param directory of the store */
  constructor(directory: string) {
    this.directory = directory;
    const file = join(storeDirectory(), 'api-keys.json');
    this.key = addApiKey(file, { id: 'compactor', role: 'admin', username: '', expiresAt: 0, remark: '' });
    this.options = {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0' },
      ],
      'http.apiKeys': file,
      'http.auditLog': '',
    };
  }

  /** Begins to ask a broker. */
  begin(broker: TestBroker): void {
    this.task = this.ask(`http://127.0.0.1:${broker.ports[1]}/api/v1/store/compact`);
  }

  /** The broker is gone. */
  async ended(): Promise<void> {
    await this.task;
    if (existsSync(join(this.directory, FRESH_DIRECTORY))) this.halves++;
  }

  private async ask(url: string): Promise<void> {
    for (;;) {
      let status: number;
      let text: string;
      try {
        const headers = { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' };
        const reply = await fetch(url, { method: 'POST', headers, body: '{}' });
        status = reply.status;
        text = await reply.text();
      } catch {
        return;
      }
      if (status === 200) this.done++;
      // One that took longer than an answer is under way (409).
      else if (status !== 202 && status !== 409 && !(status === 503 && STOPPING.test(text))) this.problems.push(`${status} ${text}`);
    }
  }
}
