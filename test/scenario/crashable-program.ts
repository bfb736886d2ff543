/*
 * A broker whose shards can be told to die, and its history too: a program with the shard count and `--set`-like arguments, and a parent that sends
 * `{ crash: index }` and is told the ports. It uses the broker as any program would, through `startBroker`.
 */
import { startBroker } from '../../src/server/broker.ts';
import { loadConfig } from '../../src/server/config.ts';

const [shards, ...set] = process.argv.slice(2);
const settings = await loadConfig({ file: undefined, env: {}, set, shards });
const broker = await startBroker(settings);
process.on('message', ({ crash }: { crash: number | 'history' }) => {
  if (crash === 'history') broker.crashHistory();
  else broker.crashShard(crash);
});
process.on('SIGTERM', () => void broker.stop());
void broker.done.then((code) => process.exit(code));
process.send!({ ports: broker.addresses.map(({ port }) => port) });
