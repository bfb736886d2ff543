/**
 * `onehop p2p`: sends a message to clients by their IDs and says in words what became of it.
 *
 * With `--confirm` it goes over the HTTP API (`publish.ts`). One target travels in the topic; several travel as `p2p-target` User Properties, and so does an ID that a topic cannot hold. Invariant: exit code 0
 * means that a session took the message and, where a receipt was asked for, that every target acknowledged it.
 */
import type { ApiOptions } from './api-client.ts';
import { type Answer, type Connection, type ConnectionOptions, connect, publish, userProperties } from './client.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

export interface P2pOptions extends ConnectionOptions, ApiOptions {
  readonly client: readonly string[];
  readonly first: string;
  readonly message: string;
  readonly qos: 0 | 1 | 2;
  /** Ask what happened at each target at once. */
  readonly report?: boolean;
  /** Wait until the targets acknowledge. */
  readonly receipt?: boolean;
  /** Over the HTTP API, and wait until the targets acknowledge. */
  readonly confirm?: boolean;
  readonly ifOnline?: boolean;
  /** Longest wait for receipts, in seconds. */
  readonly timeout: number;
  readonly property?: readonly string[];
}

interface Receipt {
  readonly target: string;
  readonly status: string;
  readonly at: number;
}

/** The statuses of a report in words. */
const statusTexts: Record<string, string> = {
  delivered: 'delivered: sent to the connected client',
  queued: 'queued: waits in the session of the client',
  mailbox: 'mailbox: kept until the client connects for the first time',
  'no-session': 'no session: no such client, nothing kept',
  full: 'full: the queue of the client has no room',
  denied: 'denied: not allowed',
  'too-large': 'too large: the client takes no packet of this size',
};

const receiptTexts: Record<string, string> = {
  acknowledged: 'acknowledged by the client',
  expired: 'expired before the client got it',
  dropped: 'dropped',
  'session-ended': 'the session of the client ended before it got it',
};

/** @returns exit code @throws Failure when no session took the message, or a receipt says no or does not come */
export async function p2p(options: P2pOptions): Promise<number> {
  if (options.confirm !== true) {
    if (options.url !== undefined || options.key !== undefined || options.json === true || options.ifOnline === true)
      throw new Failure('--url, --key, --json and --if-online are for --confirm', 2);
    await p2pOverMqtt(options);
    return 0;
  }
  if (options.report === true || options.receipt === true) throw new Failure('--report and --receipt are not for --confirm', 2);
  const { confirm } = await import('./publish.ts');
  return confirm(options);
}

async function p2pOverMqtt(options: P2pOptions): Promise<void> {
  const isPlain = options.client.length === 1 && !/[+#]/.test(options.client[0]!);
  const properties = userProperties(options.property);
  if (!isPlain) properties['p2p-target'] = [...options.client];
  if (options.report === true) properties['p2p-report'] = ['1'];
  if (options.receipt === true) properties['p2p-receipt'] = ['1'];
  check(options, properties);
  const connection = await connect(options);
  const responseTopic = `onehop/receipts/${connection.clientId}`;
  const receipts = options.receipt === true ? await receive(connection, responseTopic, options) : undefined;
  const answer = await publish(connection, `${options.first}/p2p/${isPlain ? options.client[0] : ''}`, options.message, {
    qos: options.qos,
    ...(Object.keys(properties).length > 0
      ? {
          properties: {
            userProperties: properties,
            ...(receipts === undefined ? {} : { responseTopic, correlationData: Buffer.from('1') }),
          },
        }
      : {}),
  });
  try {
    say(answer, options);
    if (receipts !== undefined) await Promise.race([receipts.whole(), connection.lost]);
  } finally {
    await connection.close();
  }
}

function check(options: P2pOptions, properties: object): void {
  if (Object.keys(properties).length > 0 && options.mqttVersion !== '5') {
    throw new Failure('several targets, --report, --receipt and --property need --mqtt-version 5', 2);
  }
  if (options.qos === 0 && (options.report === true || options.receipt === true)) {
    throw new Failure('--report and --receipt need -q 1 or -q 2: a sender with QoS 0 is told nothing', 2);
  }
}

/** Prints the answer. @throws Failure when nothing took the message */
function say(answer: Answer | null, options: P2pOptions): void {
  if (answer === null) {
    print('sent; QoS 0 is not answered');
    return;
  }
  const statuses = [answer.userProperties['p2p-status'] ?? []].flat();
  for (const status of statuses) {
    // A client ID may hold `=`, a status never does.
    const at = status.lastIndexOf('=');
    print(`${status.slice(0, at)}: ${statusTexts[status.slice(at + 1)] ?? status.slice(at + 1)}`);
  }
  if (answer.reasonCode === 0x10)
    throw new Failure(`no session: ${options.client.join(', ')} is not known to the broker (${answer.reason})`);
  if (answer.reasonCode >= 0x80) throw new Failure(`refused: ${answer.reason}`);
  if (statuses.length > 0) return;
  if (options.mqttVersion === '5') print('taken: delivered to the client, or queued in its session (--report says which)');
  else print('accepted by the broker; only MQTT 5 tells more');
}

/** Subscribes to the receipts; `whole` prints each as it comes, and resolves when there is one for each target. */
async function receive(connection: Connection, topic: string, options: P2pOptions): Promise<{ whole(): Promise<void> }> {
  const missing = new Set(options.client);
  const failed: string[] = [];
  // A receipt may come in the same moment as the answer; the answer is printed first.
  let early: string[] | null = [];
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  connection.client.on('message', (from: string, payload: Uint8Array) => {
    if (from !== topic) return;
    const receipt = JSON.parse(Buffer.from(payload).toString('utf8')) as Receipt;
    const line = `${receipt.target}: ${receiptTexts[receipt.status] ?? receipt.status} at ${new Date(receipt.at).toISOString()}`;
    if (early === null) print(line);
    else early.push(line);
    if (receipt.status !== 'acknowledged') failed.push(receipt.target);
    missing.delete(receipt.target);
    if (missing.size === 0) finish();
  });
  await Promise.race([connection.client.subscribeAsync(topic, { qos: 1 }), connection.lost]);
  return {
    whole: async () => {
      for (const line of early ?? []) print(line);
      early = null;
      const timer = setTimeout(finish, options.timeout * 1_000);
      await finished;
      clearTimeout(timer);
      if (missing.size > 0) throw new Failure(`no receipt from ${[...missing].join(', ')} within ${options.timeout} s`);
      if (failed.length > 0) throw new Failure(`not acknowledged: ${failed.join(', ')}`);
    },
  };
}
