/**
 * Goal: MQTT.js logs in by enhanced authentication, trusts the broker, and proves itself anew while its messages go on.
 * Method: the library itself, with the tests' own SCRAM in its hook `handleAuth`, over one and two shards.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { connect, type IConnackPacket, type MqttClient } from 'mqtt';
import { sourceRoot } from '../conformance/scripts.ts';
import { startBroker } from '../support/broker.ts';
import { ScramClient } from '../support/scram-client.ts';

type AuthPacket = Parameters<MqttClient['handleAuth']>[0];

const file = join(sourceRoot(), 'test/conformance/users.json');

/** One client, and the exchange that it is in. */
class Dialog {
  readonly client: MqttClient;
  scram: ScramClient;
  private renewed: (data: Uint8Array | undefined) => void;

  constructor(port: number, clientId: string, password: string) {
    this.scram = new ScramClient('user', password);
    this.renewed = () => {};
    const properties = { authenticationMethod: this.scram.method, authenticationData: Buffer.from(this.scram.first()) };
    this.client = connect({ host: '127.0.0.1', port, clientId, protocolVersion: 5, reconnectPeriod: 0, properties });
    this.client.handleAuth = (packet, done) => this.take(packet, done);
  }

  /** Resolves with CONNACK. */
  connected(): Promise<IConnackPacket> {
    return new Promise((resolve, reject) => {
      this.client.once('connect', resolve);
      this.client.once('error', reject);
    });
  }

  /** Resolves with the data of AUTH 0x00. */
  renew(password: string): Promise<Uint8Array | undefined> {
    this.scram = new ScramClient('user', password);
    const ended = new Promise<Uint8Array | undefined>((resolve, reject) => {
      this.renewed = resolve;
      this.client.once('disconnect', ({ reasonCode }) => reject(new Error(`0x${reasonCode?.toString(16)}`)));
    });
    // The library has no call for it; what it writes is an AUTH of its own codec.
    const write = (this.client as unknown as { _writePacket(packet: AuthPacket): void })._writePacket.bind(this.client);
    write(this.auth(0x19, this.scram.first()));
    return ended;
  }

  private take(packet: AuthPacket, done: (error?: Error, answer?: AuthPacket) => void): void {
    const { reasonCode, properties } = packet;
    if (reasonCode === 0) {
      this.renewed(properties?.authenticationData);
      done();
    } else done(undefined, this.auth(0x18, this.scram.answer(properties!.authenticationData!)));
  }

  private auth(reasonCode: number, data: Uint8Array): AuthPacket {
    return { cmd: 'auth', reasonCode, properties: { authenticationMethod: this.scram.method, authenticationData: Buffer.from(data) } };
  }
}

describe('MQTT.js, SCRAM-SHA-256', { concurrency: 2 }, () => {
  for (const shards of [1, 2]) {
    test(`${shards} ${shards === 1 ? 'shard' : 'shards'}`, async () => {
      const broker = await startBroker({ shards, 'auth.authenticators': [{ type: 'scram', file }] });
      try {
        for (const clientId of ['a', 'b', 'c']) {
          await assert.rejects(new Dialog(broker.port, clientId, 'pen').connected(), /Bad User Name or Password/);
          const dialog = new Dialog(broker.port, clientId, 'pencil');
          const { properties } = await dialog.connected();
          assert.ok(dialog.scram.isServer(properties?.authenticationData));
          assert.equal(properties?.authenticationMethod, dialog.scram.method);
          await dialog.client.subscribeAsync(clientId, { qos: 1 });
          for (let round = 0; round < 2; round++) {
            const message = new Promise<string>((resolve) =>
              dialog.client.once('message', (_topic, payload) => resolve(payload.toString())),
            );
            const renewed = dialog.renew('pencil');
            await dialog.client.publishAsync(clientId, `${round}`, { qos: 1 });
            assert.equal(await message, `${round}`);
            assert.ok(dialog.scram.isServer(await renewed));
          }
          await assert.rejects(dialog.renew('pen'), /0x87/);
          await dialog.client.endAsync(true);
        }
      } finally {
        await broker.stop();
      }
    });
  }
});
