/*
 * Goal: a certificate says who a client is, over every transport that has certificates; a device cannot connect under the name of another.
 * Method: certificates made by openssl, real brokers, clients over TLS, secure WebSocket and QUIC.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { describe } from 'node:test';
import { Authority, type CertificatePair } from '../support/certificates.ts';
import { connackCode, connect } from '../support/client.ts';
import type { DialPlace } from '../support/dial.ts';
import { stage } from './observe.ts';

const authority = new Authority('fleet');
const server = authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
const pump = authority.issue('pump', ['DNS:pump.example.com', 'URI:urn:device:7']);
const nameless = authority.issue('valve');

/** @param pair what the client shows; undefined: nothing */
function placeOf(transport: DialPlace['transport'], port: number, pair?: CertificatePair): DialPlace {
  const shown = pair === undefined ? {} : { cert: readFileSync(pair.chain, 'utf8'), key: readFileSync(pair.key, 'utf8') };
  return { transport, host: '127.0.0.1', port, ca: readFileSync(authority.root, 'utf8'), ...shown };
}

describe('login by certificate', { concurrency: 2 }, () => {
  for (const transport of ['tls', 'wss', 'quic'] as const) {
    test(`${transport}: the client ID is that of the certificate, or nobody's`, async (t) => {
      const tls = { certificates: [server], verifyClient: 'optional', ca: authority.root };
      const broker = await stage(t, {
        shards: 2,
        listeners: [
          { type: 'tcp', bind: '127.0.0.1:0' },
          { type: transport, bind: '127.0.0.1:0', tls },
        ],
        'auth.authenticators': [{ type: 'certificate', clientId: 'cn' }],
      });
      const place = (pair?: CertificatePair): DialPlace => placeOf(transport, broker.ports[1]!, pair);
      assert.equal(await connackCode(place(pump), { clientId: 'pump' }), 0);
      assert.equal(await connackCode(place(pump), { clientId: 'valve' }), 0x87);
      assert.equal(await connackCode(place(nameless), { clientId: 'valve', version: 4 }), 0);
      assert.equal(await connackCode(place(nameless), { clientId: 'pump', version: 4 }), 5);
      assert.equal(await connackCode(place(), { clientId: 'pump' }), 0x87, 'no certificate');
    });
  }

  test('the names of a certificate: username and Subject Alternative Name', async (t) => {
    const tls = { certificates: [server], verifyClient: 'required', ca: authority.root };
    const broker = await stage(t, {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'tls', bind: '127.0.0.1:0', tls },
      ],
      'auth.authenticators': [{ type: 'certificate', username: 'san', clientId: 'san' }],
      'auth.allowAnonymous': true,
    });
    const watch = await connect(broker.port);
    await watch.subscribe('$events/client_connected', { qos: 1 });
    const place = (pair: CertificatePair): DialPlace => placeOf('tls', broker.ports[1]!, pair);
    for (const clientId of ['pump.example.com', 'urn:device:7']) {
      assert.equal(await connackCode(place(pump), { clientId, username: 'somebody else' }), 0);
      const event = JSON.parse(Buffer.from((await watch.next()).payload).toString()) as Record<string, unknown>;
      assert.deepEqual([event['clientid'], event['username']], [clientId, 'pump.example.com']);
    }
    assert.equal(await connackCode(place(pump), { clientId: 'pump' }), 0x87);
    assert.equal(await connackCode(place(nameless), { clientId: 'valve' }), 0x87, 'a certificate without such names');
  });
});
