/*
 * A thread that loads early, for `early-thread.test.ts`: it says a word on a port, and ends when it is told to. Where it is not needed it must not come so far.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { startOf } from '../../src/server/early-thread.ts';

export interface EchoStart {
  readonly word: string;
  readonly port: MessagePort;
}

const { word, port } = await startOf<EchoStart>();
port.postMessage(word);
port.close();
parentPort!.once('message', () => parentPort!.close());
