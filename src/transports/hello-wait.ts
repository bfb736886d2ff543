/**
 * HelloWait: looks at the ClientHello of a connection before uWebSockets.js takes it over, because an app of the library has one certificate only. The bytes stay in the
 * socket.
 */
import { counter } from '../shard/counters.ts';
import { type ClientHello, readClientHello } from './client-hello.ts';
import { closeDescriptor, peek } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import type { SecureLanes } from './secure-lanes.ts';

const FAILED = counter('handshakes/failed');

/** Largest ClientHello that is looked into; a larger one gets the first certificate. */
const HELLO_BYTES_MAX = 16 * 1024;
/** Nobody tells when a descriptor that belongs to no stream can be read: it is looked at again after so long, and then after twice as long each time. */
const HELLO_POLL_MILLISECONDS = 2;
const HELLO_POLL_MILLISECONDS_MAX = 256;

/** Too large to be looked into. */
const UNREADABLE: ClientHello = { serverName: '', speaksTls13: false };

/**
 * Waits for the ClientHello.
 * @param adopt called with the place of the certificate that fits it; not called for a client that cannot be served
 */
export function awaitHello(gate: Gate, fd: number, opening: Opening, secure: SecureLanes, adopt: (certificate: number) => void): void {
  const { shard } = gate;
  const bytes = Buffer.allocUnsafe(HELLO_BYTES_MAX);
  let timer: NodeJS.Timeout | null = null;
  let pause = HELLO_POLL_MILLISECONDS;
  opening.closes(() => {
    if (timer !== null) clearTimeout(timer);
    closeDescriptor(fd);
  });
  const look = (): void => {
    const length = peek(fd, bytes);
    const hello = length === bytes.length ? UNREADABLE : readClientHello(bytes.subarray(0, Math.max(0, length)));
    if (length === 0) opening.end();
    else if (hello === null) {
      timer = setTimeout(look, pause);
      pause = Math.min(pause * 2, HELLO_POLL_MILLISECONDS_MAX);
    } else if (secure.takes(hello)) adopt(secure.certificateFor(hello));
    else {
      shard.startTurn();
      shard.counters[FAILED]!++;
      shard.clientLog.info({ peer: opening.name, error: 'the client does not speak TLS 1.3' }, 'TLS handshake failed');
      opening.end();
    }
  };
  look();
}
