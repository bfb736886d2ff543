/*
 * Opens the network connection of a test client over any transport that the broker listens on, as one duplex stream of bytes: whatever speaks MQTT in the tests
 * can speak it over each of them. WebSocket by the package `ws`, in frames that do not care where packets end.
 */
import { connect as connectSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { createWebSocketStream, WebSocket } from 'ws';

export type Transport = 'tcp' | 'tls' | 'ws' | 'wss' | 'unix';

/** Where a listener of this transport is. */
export interface DialPlace {
  readonly transport: Transport;
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path?: string;
  /** PEM of the root that the server's certificate leads to. */
  readonly ca?: string;
  /** Of the client, in PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly localAddress?: string;
}

/** The stream; what is written before it is connected waits. It has no listener for errors: the caller must add one. */
export function dial(place: DialPlace): Duplex {
  const { transport, host, port, ca, cert, key, localAddress } = place;
  const from = localAddress === undefined ? {} : { localAddress };
  const secure = { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }), servername: 'localhost' };
  switch (transport) {
    case 'tcp':
      return connectSocket({ host, port, noDelay: true, ...from });
    case 'unix':
      return connectSocket({ path: place.path! });
    case 'tls':
      return connectTls({ host, port, ...secure, ...from });
    case 'ws':
    case 'wss': {
      const options = { perMessageDeflate: false, ...from, ...(transport === 'wss' ? secure : {}) };
      const socket = new WebSocket(`${transport}://${host}:${port}/mqtt`, 'mqtt', options);
      return createWebSocketStream(socket);
    }
  }
}
