/*
 * Goal: one device, one certificate, in a whole broker. A certificate that comes for the first time is registered; another one that claims its client ID is refused; what is
 * revoked is disconnected at once; events and counters say so; all of it holds after a restart.
 * Method: certificates made by openssl, brokers of two shards, clients over TLS, secure WebSocket and QUIC, the registry changed as `onehop certificate` changes it.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import {
  addAuthority,
  addDevice,
  changeAuthority,
  changeDevice,
  findDevices,
  newCode,
  readRegistry,
} from '../../src/server/certificate-commands.ts';
import type { TestBroker } from '../support/broker.ts';
import { Authority, type CertificatePair, pem } from '../support/certificates.ts';
import { connackCode, connect, type TestClient } from '../support/client.ts';
import type { DialPlace } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

const TRANSPORTS = ['tls', 'wss', 'quic'] as const;
const fleet = new Authority('jitp-fleet');
const server = fleet.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
const pairs = Array.from({ length: 4 }, (_, n) => fleet.issueAs(`device-${n}`, `/OU=pumps/CN=device-${n}`));
let codes = 0;

/** A registry with the authority in it. */
function registry(autoRegister: boolean, autoActivate: boolean): string {
  const file = join(storeDirectory(), 'certificates.jsonl');
  const { code } = newCode(file, 3_600_000);
  const verification = fleet.issueAs(`proof-${codes++}`, `/CN=${code}`).chain;
  addAuthority(file, { ca: fleet.root, verification, autoRegister, autoActivate, isActive: true });
  return file;
}

function settings(file: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const tls = { certificates: [server], verifyClient: 'required', ca: fleet.root };
  return {
    shards: 2,
    listeners: [{ type: 'tcp', bind: '127.0.0.1:0' }, ...TRANSPORTS.map((type) => ({ type, bind: '127.0.0.1:0', tls }))],
    'auth.authenticators': [{ type: 'certificate', registry: file, ...more }],
    'auth.allowAnonymous': true,
    ...WATCHED,
  };
}

function place(broker: TestBroker, transport: (typeof TRANSPORTS)[number], { chain, key }: CertificatePair): DialPlace {
  const port = broker.ports[TRANSPORTS.indexOf(transport) + 1]!;
  return { transport, host: '127.0.0.1', port, ca: pem(fleet.root), cert: pem(chain), key: pem(key) };
}

/** Has the broker read the registry now. */
async function reread(broker: TestBroker): Promise<void> {
  const text = 'the registry of certificates was read again';
  const before = broker.log.filter(({ msg }) => msg === text).length;
  process.kill(broker.pid, 'SIGHUP');
  await broker.line(() => broker.log.filter(({ msg }) => msg === text).length > before);
}

async function nextEvent(watch: TestClient): Promise<Record<string, unknown>> {
  const { topic, payload } = await watch.next();
  return { topic, ...(JSON.parse(Buffer.from(payload).toString()) as Record<string, unknown>) };
}

describe('registry of certificates', { concurrency: 2 }, () => {
  for (const transport of TRANSPORTS) {
    test(`${transport}: the first connect registers, another certificate cannot have the client ID, revoking ends the connection`, async (t) => {
      const file = registry(true, true);
      const broker = await stage(t, settings(file));
      const watch = await connect(broker.port);
      await watch.subscribe('$events/certificate_registered', { qos: 1 });
      await watch.subscribe('$events/certificate_rejected', { qos: 1 });
      const ids = [clientIdOn(0, 2), clientIdOn(1, 2)];
      const clients: TestClient[] = [];
      for (const [n, clientId] of ids.entries()) {
        clients.push(await connect(place(broker, transport, pairs[n]!), { clientId }));
        const [device] = findDevices(file, { clientId });
        assert.deepEqual([device?.status, device?.source, device?.organizationalUnit], ['ACTIVE', 'JITP', 'pumps']);
        const event = await nextEvent(watch);
        assert.deepEqual(Object.keys(event).sort(), [
          ...['clientid', 'cn', 'event', 'fingerprint', 'issuer_cn', 'node', 'registered_at', 'serial', 'status', 'timestamp', 'topic'],
        ]);
        const { topic, event: name, fingerprint, serial, cn, issuer_cn: issuer, clientid, status } = event;
        assert.deepEqual([topic, name], ['$events/certificate_registered', 'certificate.registered']);
        assert.deepEqual([fingerprint, serial], [device!.fingerprint, device!.serial]);
        assert.deepEqual([cn, issuer, clientid, status], [`device-${n}`, 'jitp-fleet', clientId, 'ACTIVE']);
      }
      const refused = async (pair: CertificatePair, clientId: string, reason: string, version: 4 | 5 = 5): Promise<void> => {
        assert.equal(await connackCode(place(broker, transport, pair), { clientId, version }), version === 5 ? 0x87 : 5);
        const event = await nextEvent(watch);
        assert.deepEqual([event['event'], event['clientid'], event['reason']], ['certificate.rejected', clientId, reason]);
      };
      await refused(pairs[2]!, ids[0]!, 'client_id_taken');
      await refused(pairs[0]!, ids[1]!, 'client_id_differs', 4);
      assert.equal(readRegistry(file).devices.size, 2, 'what was refused is not registered');
      changeDevice(file, findDevices(file, { clientId: ids[0]! })[0]!.serial, 'REVOKED');
      await reread(broker);
      assert.equal((await clients[0]!.closed).code, 0x87);
      await clients[1]!.ping();
      await refused(pairs[0]!, ids[0]!, 'revoked');
      changeAuthority(file, readRegistry(file).authorities[0]!.serial, { status: 'INACTIVE' });
      await reread(broker);
      assert.equal((await clients[1]!.closed).code, 0x87);
      await refused(pairs[1]!, ids[1]!, 'ca_inactive');
      await watch.ping();
    });
  }

  test('certificates wait for their activation; what is known survives a restart; counters', async (t) => {
    const file = registry(true, false);
    const broker = await stage(t, settings(file));
    const counters = await CounterWatch.open(broker.port);
    const own = (to: TestBroker): DialPlace => place(to, 'tls', pairs[0]!);
    assert.equal(await connackCode(own(broker), { clientId: 'one', username: 'somebody', password: 'x' }), 0x87);
    const [device] = findDevices(file, { status: 'PENDING_ACTIVATION' });
    assert.equal(device?.clientId, 'one');
    await counters.reaches('certificates/registered', (count) => count === 1);
    await counters.reaches('certificates/rejected', (count) => count === 1);
    await counters.reaches('certificates/count', (count) => count === 1);
    changeDevice(file, device.fingerprint, 'ACTIVE');
    await reread(broker);
    assert.equal(await connackCode(own(broker), { clientId: 'one' }), 0);
    await broker.stop();
    const again = await stage(t, settings(file));
    assert.equal(await connackCode(own(again), { clientId: 'one' }), 0);
    assert.equal(await connackCode(own(again), { clientId: 'two' }), 0x87);
    assert.equal(await connackCode(place(again, 'tls', pairs[1]!), { clientId: '' }), 0x85, 'the first connect needs a client ID');
  });

  test('without registering by itself only what a command has added is good; a device changes to its next certificate', async (t) => {
    const file = registry(false, false);
    const broker = await stage(t, settings(file, { registryMax: 1, clientId: 'any' }));
    assert.equal(await connackCode(place(broker, 'tls', pairs[0]!), { clientId: 'one' }), 0x87);
    addDevice(file, pairs[0]!.chain, 'one', false);
    addDevice(file, pairs[1]!.chain, 'one', true);
    addDevice(file, pairs[2]!.chain, null, false);
    await reread(broker);
    for (const n of [0, 1]) assert.equal(await connackCode(place(broker, 'tls', pairs[n]!), { clientId: 'one' }), 0);
    assert.equal(await connackCode(place(broker, 'tls', pairs[2]!), { clientId: 'gateway-1' }), 0);
    assert.equal(await connackCode(place(broker, 'tls', pairs[2]!), { clientId: 'one' }), 0x87);
    changeAuthority(file, readRegistry(file).authorities[0]!.serial, { autoRegister: true });
    await reread(broker);
    assert.equal(
      await connackCode(place(broker, 'tls', pairs[3]!), { clientId: 'more' }),
      0x97,
      'no more are registered than there may be',
    );
  });
});
