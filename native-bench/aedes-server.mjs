/**
 * Aedes as a peer of the benchmark: plain TCP on 127.0.0.1, everything in memory, its own defaults. The port is the first argument.
 */
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const broker = await Aedes.createBroker();
const server = createServer({ noDelay: true }, broker.handle);
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
