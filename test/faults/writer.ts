/*
 * `writer-program.ts` as its parent sees it: one request at a time.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { WriterAnswer, WriterRequest } from './writer-program.ts';

const program = fileURLToPath(new URL('./writer-program.js', import.meta.url));

export class Writer {
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;
  private readonly answers: ((answer: WriterAnswer) => void)[] = [];

  /** It does not outlive its test. */
  constructor(t: TestContext, directory: string, environment: Readonly<Record<string, string>>) {
    // LMDB complains of failures on the standard error output.
    this.child = fork(program, [directory], { env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.child.on('message', (answer: WriterAnswer) => this.answers.shift()?.(answer));
    this.ended = once(this.child, 'exit').then(() => {
      for (const resolve of this.answers) resolve({ error: 'the writer has died' });
    });
    t.after(() => this.kill());
  }

  ask(ask: WriterRequest['ask'], key?: string): Promise<WriterAnswer> {
    return new Promise((resolve) => {
      this.answers.push(resolve);
      this.child.send({ ask, key });
    });
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
