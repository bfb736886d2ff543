/*
 * One listener of every transport, for tests that speak MQTT over all of them.
 */
import { Authority, pem, temporaryFile } from './certificates.ts';
import type { DialPlace, Transport } from './dial.ts';

const HOST = '127.0.0.1';
let count = 0;

export class TestDoors {
  /** As the configuration takes them: tcp, tls, ws, wss, unix, quic. */
  readonly listeners: readonly Record<string, unknown>[];
  readonly authority: Authority;
  private readonly socketFile: string;

  constructor() {
    this.authority = new Authority(`root-${process.pid}-${count}`);
    this.socketFile = temporaryFile(`socket-${count++}`);
    const tls = { certificates: [this.authority.issue('localhost', ['DNS:localhost', `IP:${HOST}`])] };
    const bind = `${HOST}:0`;
    this.listeners = [
      { type: 'tcp', bind },
      { type: 'tls', bind, tls },
      { type: 'ws', bind },
      { type: 'wss', bind, tls },
      { type: 'unix', bind: this.socketFile },
      { type: 'quic', bind, tls },
    ];
  }

  /** Where they are. @param ports of the broker, in the order of the listeners */
  places(ports: readonly number[]): DialPlace[] {
    const ca = pem(this.authority.root);
    return this.listeners.map(({ type }, index) => ({
      transport: type as Transport,
      host: HOST,
      port: ports[index]!,
      path: this.socketFile,
      ca,
    }));
  }
}
