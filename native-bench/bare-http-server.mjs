/**
 * A bare uWebSockets.js server on a free port, which the HTTP data plane is compared with: it takes the whole body and answers as much as the broker does. Prints its
 * port as the broker does.
 */
import { App, us_socket_local_port } from 'uWebSockets.js';

const ANSWER = '{"status":"ok","reasonCode":0}';

const app = App().any('/*', (response) => {
  response.onAborted(() => {});
  response.onData((_chunk, isLast) => {
    if (isLast) response.writeHeader('Content-Type', 'application/json').end(ANSWER);
  });
});
app.listen('127.0.0.1', 0, (socket) => {
  if (!socket) throw new Error('no port');
  process.stdout.write(`${JSON.stringify({ msg: 'listening', type: 'http', port: us_socket_local_port(socket) })}\n`);
});
