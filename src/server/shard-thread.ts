/**
 * The thread of one shard: builds the shard and its listeners from what the supervisor hands over, then does what it is told (serve, detach a dead peer,
 * stop). No message of a client passes through here.
 */
import { parentPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { changeLogLevel, createLog } from '../base/log.ts';
import { SLOT_MILLISECONDS, steadyClock } from '../base/timers.ts';
import type { HttpServer } from '../http/http-server.ts';
import type { Peer } from '../shard/channel.ts';
import { History } from '../shard/history.ts';
import { Shard } from '../shard/shard.ts';
import { beginStop, changeUserProperties, endCertificates, endRevoked, peerDied, peerRestarted, quiesce } from '../shard/shard-life.ts';
import { startStatistics } from '../shard/statistics.ts';
import { Vitals } from '../shard/vitals.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { Transit } from '../transports/descriptor.ts';
import { adoptHandedOff, createReadBuffer } from '../transports/tcp.ts';
import { startOf } from './early-thread.ts';
import type { LiveChange } from './live-settings.ts';
import { recoverShard } from './recover-shard.ts';
import { ShardListeners } from './shard-listeners.ts';
import { StoreLink } from './store-link.ts';
import type { FromShard, ShardStart, ToShard } from './wiring.ts';

assert(parentPort !== null, 'a shard runs in a worker thread');
const port = parentPort;
const start = await startOf<ShardStart>();
const log = createLog(start.settings.log.level, { shard: start.index });
const shard = new Shard(start.settings, start, log, steadyClock(start.clock));
if (start.history !== null)
  shard.remember(new History(start.settings.history, start.history, start.index, shard.messageIds, shard.counters));
const transit = new Transit(start.transit);
const readBuffer = createReadBuffer();
// What peers send waits until all that takes it is there: loading may take longer than the first heartbeat.
shard.mesh.isHeld = true;
/** Null where no listener speaks HTTP: then none of it is loaded. */
const http = start.settings.listeners.some(({ type }) => type === 'http' || type === 'https') ? await openHttp() : null;
/** Null where no listener has certificates. */
const certificates = start.settings.listeners.some(({ tls }) => tls !== null) ? await import('../transports/certificates.ts') : null;
const listeners = new ShardListeners(shard, transit, readBuffer, start.rates, Buffer.from(start.ticketSecret), start.quicSecret, http);
/** Sockets that came before all peers have sent their routes: a client that publishes too early would not be heard by those it means. */
const early: { readonly fd: number; readonly peer: Peer; readonly read: Uint8Array }[] = [];
let isReady = false;
const vitals = new Vitals(shard.measures, SLOT_MILLISECONDS);
shard.onBeat = () => {
  if (!vitals.beat()) return;
  shard.slowRoutes?.fade();
  shard.otlp?.flush();
};
shard.adoptSocket = (fd, peer, read) => {
  if (isReady) adoptHandedOff(shard, transit, readBuffer, fd, peer, read);
  else early.push({ fd, peer, read: Uint8Array.from(read) });
};

process.on('exit', () => listeners.destroy());

async function openHttp(): Promise<HttpServer> {
  const { createHttpServer } = await import('../http/routes.ts');
  return createHttpServer(shard, start.apiKeys);
}

function tell(message: FromShard): void {
  port.postMessage(message);
}

shard.asks.toSupervisor = (ask, name, value) => tell({ kind: 'ask', ask, name, value });
if (start.settings.auth.hasJudges)
  shard.logins.port = {
    ask: (login, asked) => tell({ kind: 'login', login, asked }),
    proceed: (login, data) => tell({ kind: 'login-data', login, data }),
    leave: (login) => tell({ kind: 'login-gone', login }),
  };

/** Takes the sections of the settings that have changed. */
function applySettings({ authorization, quotas, metrics, tracing, log: logging }: LiveChange): void {
  shard.measureAnew(metrics, tracing);
  if (metrics !== undefined) http?.replaceRoutes(metrics.public);
  if (logging !== undefined) changeLogLevel(log, logging.level);
  if (quotas !== undefined) {
    shard.quotas.replace(quotas);
    log.info({}, 'the new quotas hold for all clients of this shard');
  }
  if (authorization !== undefined)
    shard.accessRenewal.begin(authorization, () => log.info({}, 'the new statements hold for all clients of this shard'));
}

async function serve(): Promise<void> {
  const ports = await listeners.listen(start.listeners, start.certificates);
  startStatistics(shard);
  tell({ kind: 'serving', ports });
}

/** New connections are judged by them, and those that are there by the list of revoked ones. */
function reloadCertificates(listener: number, files: CertificateFiles): void {
  listeners.reload(listener, files);
  const revocation = certificates?.revocationOf(files) ?? null;
  if (revocation !== null) endCertificates(shard, listener, (certificate) => revocation.names(certificate));
}

port.on('message', (message: ToShard) => {
  switch (message.kind) {
    case 'serve':
      // Rejects only when the listening descriptor is unusable: the thread ends, and the supervisor says so.
      void serve().catch((error: Error) => {
        throw error;
      });
      return;
    case 'peer-died':
      peerDied(shard, message.peer);
      tell({ kind: 'peer-detached', peer: message.peer });
      return;
    case 'peer-restarted':
      peerRestarted(shard, message.peer, message.link);
      return;
    case 'quiesce':
      listeners.close();
      quiesce(shard, () => tell({ kind: 'quiesced', round: message.round }));
      return;
    case 'stop':
      beginStop(shard, () => tell({ kind: 'stopped' }));
      return;
    case 'verdict':
      shard.logins.answer(message.login, message.verdict);
      return;
    case 'challenge':
      shard.logins.challenge(message.login, message.data);
      return;
    case 'revoked':
      endRevoked(shard, message.authenticator, new Set(message.proofs));
      http?.callers.forgetAll();
      return;
    case 'judges':
      http?.callers.forgetAll();
      return;
    case 'event':
      shard.startTurn();
      shard.events.ofSupervisor(message.name, message.facts);
      return;
    case 'settings':
      // Before: what callers hold of the old quotas must not be found again.
      http?.callers.forgetAll();
      applySettings(message.change);
      return;
    case 'block-rules':
      shard.blocked.replace(message.rules);
      http?.callers.forgetAll();
      return;
    case 'api-keys':
      http?.callers.replaceKeys(message.keys);
      return;
    case 'settle':
      tell({ kind: 'settled', number: message.number });
      return;
    case 'answer':
      shard.asks.answered(message.ask, message.value);
      return;
    case 'user-properties':
      changeUserProperties(shard, message.authenticator, message.changes);
      return;
    case 'certificates':
      reloadCertificates(message.listener, message.files);
      return;
    case 'exit':
      return process.exit(0);
    case 'crash':
      throw new Error('this shard was told to crash');
  }
});

shard.blocked.replace(start.blockRules);
for (const trace of start.traces) shard.traces.begin(trace);
shard.mesh.isHeld = false;
// The rings must be looked at once: frames may have been written before this thread ran.
shard.startTurn();
shard.awaitsSnapshots = start.awaitsSnapshots;
shard.onReady = () => {
  if (isReady) return;
  isReady = true;
  shard.isServing = true;
  tell({ kind: 'ready' });
  for (const { fd, peer, read } of early.splice(0)) adoptHandedOff(shard, transit, readBuffer, fd, peer, read);
};
if (start.store === null) shard.checkReady();
else
  recoverShard(shard, start.store, new StoreLink(start.store.port, shard.journal), (counts) => {
    tell({ kind: 'recovered', ...counts });
    shard.checkReady();
  });
