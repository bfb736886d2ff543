/*
 * Goal: TLS as an operator expects it, the same on tls and wss: versions, ciphers, a certificate for each name, client certificates of every kind, and tickets that
 * every shard takes.
 * Method: brokers of two shards with listeners for each setting; Node's TLS client with certificates of the openssl tool.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { after, before, describe } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { CounterWatch, WATCHED } from '../scenario/observe.ts';
import { startBroker, type TestBroker, WITHOUT_OPEN_SSL } from '../support/broker.ts';
import { Authority, type CertificatePair, pem } from '../support/certificates.ts';
import { connect, type TestClient } from '../support/client.ts';
import { type DialPlace, dialTls } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const KINDS = ['tls', 'wss', 'tls by Node'] as const;
type Kind = (typeof KINDS)[number];

const authority = new Authority('tls-own');
const strangers = new Authority('tls-strangers');
const local = authority.issue('localhost', ['DNS:localhost']);
const named = [
  local,
  authority.issue('fleet', ['DNS:*.fleet.test', 'DNS:fleet.test']),
  authority.issue('exact', ['DNS:a.fleet.test', 'DNS:exact.test']),
];
const client = authority.issue('client-1');
const revoked = authority.issue('client-2');
const foreign = strangers.issue('client-1');
const crl = authority.revoke(revoked);
const judged = { certificates: [local], ca: authority.root };
const settings = {
  plain: { certificates: [local] },
  new: { certificates: [local], minVersion: '1.3' },
  cipher: { certificates: [local], ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' },
  named: { certificates: named },
  optional: { ...judged, verifyClient: 'optional' },
  required: { ...judged, verifyClient: 'required' },
  optionalCrl: { ...judged, verifyClient: 'optional', crl },
  requiredCrl: { ...judged, verifyClient: 'required', crl },
  requiredNamed: { ...judged, certificates: named, verifyClient: 'required', crl },
} as const;
type Setting = keyof typeof settings;

let broker: TestBroker;
/** The same where OpenSSL cannot be called. */
let byNode: TestBroker;
let watch: CounterWatch;

before(async () => {
  const bind = `${HOST}:0`;
  const secure = (type: string): object[] => Object.values(settings).map((tls) => ({ type, bind, tls }));
  broker = await startBroker({ shards: SHARDS, listeners: [{ type: 'tcp', bind }, ...secure('tls'), ...secure('wss')], ...WATCHED });
  byNode = await startBroker({ shards: SHARDS, listeners: secure('tls'), node: WITHOUT_OPEN_SSL });
  watch = await CounterWatch.open(broker.port);
});
after(async () => {
  for (const one of [broker, byNode]) {
    assert.equal(await one.stop(), 0);
    assert.deepEqual(
      one.log.filter(({ level }) => Number(level) >= 50 || level === 'error'),
      [],
    );
  }
});

function at(kind: Kind, setting: Setting, secure: DialPlace['secure'] = {}, own?: CertificatePair): DialPlace {
  const names = Object.keys(settings);
  const index = names.indexOf(setting);
  const port = kind === 'tls by Node' ? byNode.ports[index]! : broker.ports[1 + KINDS.indexOf(kind) * names.length + index]!;
  const place = { transport: kind === 'wss' ? kind : ('tls' as const), host: HOST, port, ca: pem(authority.root), secure };
  return own === undefined ? place : { ...place, cert: pem(own.chain), key: pem(own.key) };
}

/** A TLS connection whose handshake is done. */
async function shaken(place: DialPlace): Promise<TLSSocket> {
  const socket = dialTls(place);
  await once(socket, 'secureConnect');
  return socket;
}

async function isLetIn(place: DialPlace): Promise<boolean> {
  let one: TestClient;
  try {
    one = await connect(place, { clientId: clientIdOn(0, SHARDS) });
  } catch {
    return false;
  }
  await one.ping();
  await one.disconnect();
  return true;
}

for (const kind of KINDS) {
  describe(`over ${kind}`, () => {
    test('TLS 1.2 and 1.3; with minVersion 1.3 that alone', async () => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const only = { minVersion: version, maxVersion: version };
        const socket = await shaken(at(kind, 'plain', only));
        assert.equal(socket.getProtocol(), version);
        socket.destroy();
        assert.ok(await isLetIn(at(kind, 'plain', only)));
        assert.equal(await isLetIn(at(kind, 'new', only)), version === 'TLSv1.3');
      }
      // Older ones never.
      assert.ok(!(await isLetIn(at(kind, 'plain', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))));
    });

    test('ciphers', async () => {
      const old = { maxVersion: 'TLSv1.2' } as const;
      const socket = await shaken(at(kind, 'cipher', old));
      assert.equal(socket.getCipher().name, 'ECDHE-ECDSA-AES256-GCM-SHA384');
      socket.destroy();
      assert.ok(!(await isLetIn(at(kind, 'cipher', { ...old, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }))));
    });

    test('each server name has its certificate; others get the first', async () => {
      const expected = {
        localhost: 'localhost',
        'fleet.test': 'fleet',
        'x.fleet.test': 'fleet',
        'X.Fleet.TEST': 'fleet',
        'exact.test': 'exact',
        // The first that fits, though another one says it exactly.
        'a.fleet.test': 'fleet',
        // A star stands for one label.
        'a.b.fleet.test': 'localhost',
        'elsewhere.test': 'localhost',
        '': 'localhost',
      };
      for (const [servername, commonName] of Object.entries(expected)) {
        const socket = await shaken(at(kind, 'named', { servername, checkServerIdentity: () => undefined }));
        assert.equal(socket.getPeerCertificate().subject.CN, commonName, servername);
        socket.destroy();
      }
      for (const servername of ['x.fleet.test', 'exact.test', 'localhost']) assert.ok(await isLetIn(at(kind, 'named', { servername })));
    });

    const expected: Record<string, readonly [CertificatePair | undefined, ...boolean[]]> = {
      // optional, required, optional with a list, required with a list, several certificates
      'no certificate': [undefined, true, false, true, false, false],
      'a good one': [client, true, true, true, true, true],
      'one that is revoked': [revoked, true, true, false, false, false],
      'one of a stranger': [foreign, false, false, false, false, false],
    };
    for (const [name, [own, ...answers]] of Object.entries(expected)) {
      test(`a client with ${name}`, async () => {
        assert.ok(await isLetIn(at(kind, 'plain', {}, own)));
        for (const [index, setting] of (['optional', 'required', 'optionalCrl', 'requiredCrl', 'requiredNamed'] as const).entries())
          assert.equal(await isLetIn(at(kind, setting, {}, own)), answers[index], setting);
      });
    }

    test('a refusal has its reason in the log', async () => {
      const own = kind === 'tls by Node' ? byNode : broker;
      const before = own.log.length;
      await isLetIn(at(kind, 'required'));
      await isLetIn(at(kind, 'requiredCrl', {}, revoked));
      const reasons = (): string => JSON.stringify(own.log.slice(before));
      await own.line(() => /no certificate|certificate is needed/.test(reasons()));
      await own.line(() => /CERT_REVOKED|certificate revoked/.test(reasons()));
    });
  });
}

/** A session of this place. */
async function savedSession(place: DialPlace): Promise<Buffer> {
  const socket = dialTls(place);
  socket.resume();
  // The library of WebSockets sends its tickets with its first answer.
  if (place.transport === 'wss') socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const [session] = (await once(socket, 'session', { signal: AbortSignal.timeout(10_000) })) as [Buffer];
  socket.destroy();
  return session;
}

describe('session tickets', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const setting of ['plain', 'requiredNamed'] as const) {
      test(`a session is taken up by each shard (${version}, ${setting})`, async () => {
        const own = setting === 'plain' ? undefined : client;
        const secure = { maxVersion: version, servername: setting === 'plain' ? 'localhost' : 'x.fleet.test' };
        const session = await savedSession(at('tls', setting, secure, own));
        const relayedBefore = await watch.fresh('connections/relayed');
        let relayed = 0;
        let count = 0;
        // Which shard accepts is up to the kernel; several at a time reach both.
        for (let round = 0; round < 10 && (relayed === 0 || relayed === count); round++) {
          const sockets = await Promise.all(Array.from({ length: 16 }, () => shaken(at('tls', setting, { ...secure, session }, own))));
          for (const socket of sockets) assert.ok(socket.isSessionReused());
          for (const socket of sockets) socket.destroy();
          const place = at('tls', setting, { ...secure, session }, own);
          const clients = await Promise.all(Array.from({ length: 16 }, () => connect(place, { clientId: clientIdOn(0, SHARDS) })));
          count += clients.length;
          relayed = (await watch.fresh('connections/relayed')) - relayedBefore;
          for (const one of clients) await one.disconnect();
        }
        assert.ok(relayed > 0 && relayed < count, `${relayed} of ${count} were accepted by the other shard`);
      });
    }

    test(`a session of a listener is none of another, which may judge otherwise (${version})`, async () => {
      const session = await savedSession(at('tls', 'plain', { maxVersion: version }));
      const socket = dialTls(at('tls', 'required', { maxVersion: version, session }));
      socket.on('error', () => {});
      socket.resume();
      await new Promise<void>((resolve) => {
        socket.once('close', () => resolve());
      });
      assert.ok(!(await isLetIn(at('tls', 'required', { maxVersion: version, session }))));
    });

    test(`wss: who comes with a session gets in, and is judged again (${version})`, async () => {
      for (const setting of ['plain', 'required', 'requiredCrl'] as const) {
        const place = at('wss', setting, { maxVersion: version }, client);
        const session = await savedSession(place);
        for (let i = 0; i < 10; i++) assert.ok(await isLetIn({ ...place, secure: { maxVersion: version, session } }), setting);
      }
      const withoutList = await savedSession(at('wss', 'required', { maxVersion: version }, revoked));
      for (let i = 0; i < 4; i++)
        assert.ok(!(await isLetIn(at('wss', 'requiredCrl', { maxVersion: version, session: withoutList }, revoked))));
    });
  }
});

test('a resumed handshake brings new tickets, so that a client may use each once', async () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    let session = await savedSession(at('tls', 'plain', { maxVersion: version }));
    for (let round = 0; round < 5; round++) {
      const socket = dialTls(at('tls', 'plain', { maxVersion: version, session }));
      socket.resume();
      if (version === 'TLSv1.3') [session] = (await once(socket, 'session', { signal: AbortSignal.timeout(10_000) })) as [Buffer];
      else await once(socket, 'secureConnect');
      assert.ok(socket.isSessionReused());
      socket.destroy();
    }
  }
});

test('a failed handshake has its reason in the log', async () => {
  const before = broker.log.length;
  await isLetIn(at('tls', 'new', { maxVersion: 'TLSv1.2' }));
  await broker.line(() =>
    broker.log.slice(before).some(({ msg, error }) => msg === 'TLS handshake failed' && /unsupported protocol/.test(String(error))),
  );
});

test('ALPN: mqtt where it is offered; a client that wants something else is told', async () => {
  for (const [offered, chosen] of [
    [undefined, false],
    [['mqtt'], 'mqtt'],
    [['h2', 'mqtt'], 'mqtt'],
  ] as const) {
    const socket = await shaken(at('tls', 'plain', offered === undefined ? {} : { ALPNProtocols: [...offered] }));
    assert.equal(socket.alpnProtocol, chosen);
    socket.destroy();
  }
  const wrong = dialTls(at('tls', 'plain', { ALPNProtocols: ['h2'] }));
  const [error] = (await once(wrong, 'error')) as [Error];
  assert.match(error.message, /no application protocol/);
  // Browsers offer HTTP.
  assert.ok(await isLetIn(at('wss', 'plain', { ALPNProtocols: ['http/1.1'] })));
});
