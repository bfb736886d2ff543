/**
 * `onehop pub`: publishes one message and says what the broker answered, where it answered anything but success.
 */
import { type ConnectionOptions, connect, publish, userProperties } from './client.ts';
import { Failure } from './failure.ts';

export interface PubOptions extends ConnectionOptions {
  readonly topic: string;
  readonly message: string;
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly property?: readonly string[];
}

/** @throws Failure when there is no connection or the message is refused */
export async function pub(options: PubOptions): Promise<void> {
  const properties = userProperties(options.property);
  const isProperties = Object.keys(properties).length > 0;
  if (isProperties && options.mqttVersion !== '5') throw new Failure('--property needs --mqtt-version 5', 2);
  const connection = await connect(options);
  const answer = await publish(connection, options.topic, options.message, {
    qos: options.qos,
    retain: options.retain === true,
    ...(isProperties ? { properties: { userProperties: properties } } : {}),
  });
  await connection.close();
  if (answer === null || answer.reasonCode === 0) return;
  if (answer.reasonCode >= 0x80) throw new Failure(`the message was refused: ${answer.reason}`);
  process.stderr.write(`${answer.reason}\n`);
}
