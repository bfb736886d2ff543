/*
 * Goal: the server name and TLS 1.3 are found in what real clients send first, in any pieces; anything else does no harm.
 * Method: the first bytes of Node's TLS client for several options, cut at every length and changed at every byte.
 */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import test from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import { readClientHello } from '../../src/transports/client-hello.ts';

/** What a client sends first. */
function firstBytes(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        resolve(chunk);
        done();
      },
    });
    connect({ socket, ...options }).on('error', () => {});
  });
}

test('name and version, and null until all of it is there', async () => {
  const cases: [ConnectionOptions, string, boolean][] = [
    [{ servername: 'Device-1.example.test' }, 'device-1.example.test', true],
    [{}, '', true],
    [{ servername: 'a.test', maxVersion: 'TLSv1.2' }, 'a.test', false],
    [{ servername: 'a.test', minVersion: 'TLSv1.3', ALPNProtocols: ['mqtt'] }, 'a.test', true],
    [{ maxVersion: 'TLSv1.2', ALPNProtocols: ['mqtt'] }, '', false],
  ];
  for (const [options, serverName, speaksTls13] of cases) {
    const bytes = await firstBytes(options);
    assert.deepEqual(readClientHello(bytes), { serverName, speaksTls13 });
    assert.deepEqual(readClientHello(Buffer.concat([bytes, Buffer.alloc(100, 22)])), { serverName, speaksTls13 });
    for (let length = 0; length < bytes.length; length++) assert.equal(readClientHello(bytes.subarray(0, length)), null);
  }
});

test('a name that no certificate can have is none', async () => {
  const bytes = await firstBytes({ servername: 'aaa.test' });
  for (const bad of ['\0', ' ', '*', '/', '\xff']) {
    const changed = Buffer.from(bytes);
    changed[bytes.indexOf('aaa.test') + 1] = bad.charCodeAt(0);
    assert.deepEqual(readClientHello(changed), { serverName: '', speaksTls13: true });
  }
});

test('what is no ClientHello is not waited for, and changed bytes do no harm', async () => {
  const nothing = { serverName: '', speaksTls13: false };
  for (const text of ['GET / HTTP/1.1\r\n', '\x10\x0e\0\x04MQTT', '\x15\x03\x01\0\x02\x02\x28'])
    assert.deepEqual(readClientHello(Buffer.from(text, 'latin1')), nothing);
  const bytes = await firstBytes({ servername: 'a.test' });
  for (let at = 5; at < bytes.length; at++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const changed = Buffer.from(bytes);
      changed[at] = value;
      assert.notEqual(readClientHello(changed), null);
    }
  }
});
