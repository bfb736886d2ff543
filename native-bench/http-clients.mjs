/** MQTT clients `dev-0`, `dev-1` … that acknowledge whatever comes: `node http-clients.mjs PORT COUNT`. Prints a line when all are connected, and stays. */
import { once } from 'node:events';
import mqtt from 'mqtt';

const [port, count] = process.argv.slice(2).map(Number);
const clients = Array.from({ length: count }, (_, index) =>
  mqtt.connect(`mqtt://127.0.0.1:${port}`, { clientId: `dev-${index}`, protocolVersion: 5 }),
);
await Promise.all(clients.map((client) => once(client, 'connect')));
process.stdout.write('connected\n');
