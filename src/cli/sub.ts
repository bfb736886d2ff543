/**
 * `onehop sub`: prints the messages that reach a client, each on its own line.
 *
 * Messages that are addressed to the client ID itself come without any subscription, so filters are optional. Payloads go to standard output as they
 * are; remarks go to standard error.
 */
import { type Connection, type ConnectionOptions, connect } from './client.ts';
import { Failure } from './failure.ts';
import { standardOutput } from './output.ts';

export interface SubOptions extends ConnectionOptions {
  readonly topic?: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** Ends after so many messages. */
  readonly count?: number;
  readonly verbose?: boolean;
  /** Seconds that the session outlives the connection. */
  readonly session?: number;
}

/** @throws Failure when there is no connection, a filter is refused, or the connection breaks */
export async function sub(options: SubOptions): Promise<void> {
  const filters = options.topic ?? [];
  if (filters.length === 0 && options.clientId === undefined) {
    throw new Failure('give a filter (-t), or a client ID (--client-id) that messages are addressed to', 2);
  }
  let stop = (): void => undefined;
  const enough = new Promise<void>((resolve) => {
    stop = resolve;
  });
  let rest = options.count ?? Number.POSITIVE_INFINITY;
  const onMessage = (topic: string, payload: Uint8Array): void => {
    if (rest === 0) return;
    const output = standardOutput();
    if (options.verbose === true) output.write(`${topic} `);
    output.write(payload);
    output.write('\n');
    rest -= 1;
    if (rest === 0) stop();
  };
  const connection = await connect(options, { sessionSeconds: options.session ?? 0, onMessage });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop());
  if (filters.length > 0) await subscribe(connection, filters, options.qos);
  process.stderr.write(`connected as ${connection.clientId}${filters.length > 0 ? `, subscribed to ${filters.join(', ')}` : ''}\n`);
  await Promise.race([enough, connection.lost]);
  await connection.close();
}

async function subscribe(connection: Connection, filters: readonly string[], qos: 0 | 1 | 2): Promise<void> {
  const subscribed = connection.client.subscribeAsync([...filters], { qos }).catch((error: Error) => {
    throw new Failure(`${filters.join(', ')}: ${error.message}`);
  });
  await Promise.race([subscribed, connection.lost]);
}
