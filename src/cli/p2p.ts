/**
 * `onehop p2p`: sends a message to clients by their IDs and says in words what became of it.
 *
 * With `--confirm` it goes over the HTTP API (`publish.ts`). One target travels in the topic; several travel as `p2p-target` User Properties, and so does an ID that a topic cannot hold. Invariant: exit code 0
 * means that a session took the message; with a report, that one of every target did; with a receipt, that every target acknowledged it.
 */
import type { ApiOptions } from './api-client.ts';
import { type Answer, type Connection, type ConnectionOptions, connect, publish, userProperties } from './client.ts';
import { Failure } from './failure.ts';
import { print, visible } from './output.ts';

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

/** Statuses of targets that have the message, or will have it. */
const takenStatuses: readonly string[] = ['delivered', 'queued', 'mailbox'];

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
  // A receipt says that a target did not take the message, the report says why.
  if (options.report === true || options.receipt === true) properties['p2p-report'] = ['1'];
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
    const missed = say(answer, options);
    if (receipts !== undefined) await Promise.race([receipts.whole(missed), connection.lost]);
    else if (missed.size > 0) throw new Failure(`not taken for ${[...missed.keys()].join(', ')}`);
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

/**
 * Prints the answer.
 * @returns targets that did not take the message, and why, as far as the answer says so
 * @throws Failure when nothing took the message
 */
function say(answer: Answer | null, options: P2pOptions): Map<string, string> {
  const missed = new Map<string, string>();
  if (answer === null) {
    print('sent; QoS 0 is not answered');
    return missed;
  }
  const statuses = [answer.userProperties['p2p-status'] ?? []].flat();
  for (const pair of statuses) {
    // A client ID may hold `=`, a status never does.
    const at = pair.lastIndexOf('=');
    const target = pair.slice(0, at);
    const status = pair.slice(at + 1);
    const text = statusTexts[status] ?? status;
    if (options.report === true) print(`${visible(target)}: ${text}`);
    if (!takenStatuses.includes(status)) missed.set(target, text);
  }
  if (answer.reasonCode === 0x10)
    throw new Failure(`no session: ${options.client.join(', ')} is not known to the broker (${answer.reason})`);
  if (answer.reasonCode >= 0x80) throw new Failure(`refused: ${answer.reason}`);
  if (options.report === true && statuses.length > 0) return missed;
  if (options.mqttVersion === '5') print('taken: delivered to the client, or queued in its session (--report says which)');
  else print('accepted by the broker; only MQTT 5 tells more');
  return missed;
}

interface Receipts {
  /** Prints each as it comes, and resolves when there is one for each target. @param missed targets that did not take the message, and why */
  whole(missed: ReadonlyMap<string, string>): Promise<void>;
}

/** Subscribes to the receipts. */
async function receive(connection: Connection, topic: string, options: P2pOptions): Promise<Receipts> {
  const missing = new Set(options.client);
  const failed: string[] = [];
  // A receipt may come in the same moment as the answer; the answer is printed first.
  let early: Receipt[] | null = [];
  let reasons: ReadonlyMap<string, string> = new Map();
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const show = ({ target, status, at }: Receipt): void => {
    const reason = status === 'dropped' ? reasons.get(target) : undefined;
    const text = `${receiptTexts[status] ?? status} at ${new Date(at).toISOString()}${reason === undefined ? '' : ` (${reason})`}`;
    print(`${visible(target)}: ${text}`);
  };
  connection.client.on('message', (from: string, payload: Uint8Array) => {
    if (from !== topic) return;
    const receipt = JSON.parse(Buffer.from(payload).toString('utf8')) as Receipt;
    if (early === null) show(receipt);
    else early.push(receipt);
    if (receipt.status !== 'acknowledged') failed.push(receipt.target);
    missing.delete(receipt.target);
    if (missing.size === 0) finish();
  });
  await Promise.race([connection.client.subscribeAsync(topic, { qos: 1 }), connection.lost]);
  return {
    whole: async (missed) => {
      reasons = missed;
      for (const receipt of early ?? []) show(receipt);
      early = null;
      const timer = setTimeout(finish, options.timeout * 1_000);
      await finished;
      clearTimeout(timer);
      if (missing.size > 0) throw new Failure(`no receipt from ${[...missing].join(', ')} within ${options.timeout} s`);
      if (failed.length > 0) throw new Failure(`not acknowledged: ${failed.join(', ')}`);
    },
  };
}
