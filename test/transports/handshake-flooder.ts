/*
 * A thread that makes TLS handshakes and nothing else, many at a time, each on a new connection. Says how many came to their end.
 */
import { connect } from 'node:tls';
import { parentPort, workerData } from 'node:worker_threads';

export interface FloodOrder {
  readonly port: number;
  readonly handshakes: number;
  readonly atOnce: number;
}

const { port, handshakes, atOnce } = workerData as FloodOrder;
let begun = 0;
let done = 0;
let open = 0;

function next(): void {
  while (open < atOnce && begun < handshakes) {
    begun++;
    open++;
    const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false });
    socket.on('secureConnect', () => {
      done++;
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      open--;
      next();
    });
  }
  if (open === 0) parentPort!.postMessage(done);
}

next();
