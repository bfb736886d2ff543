/**
 * The broker that the console is tested with: everything that it can show is there, and clients that do what clients do.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { newDevice } from '../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { Authority } from '../support/certificates.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';

export const SHARDS = 2;

/** Starts it, with four pumps that are connected and a subscription that two of them share. */
export async function startScene(t: TestContext): Promise<HttpBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-console-'));
  const users = join(folder, 'users.json');
  const facts = { attributes: {}, remark: '' };
  writeUserFile(users, [{ ...facts, username: 'root', password: await hashPassword(Buffer.from('naïve secret')), isSuperuser: true }]);
  const devices = join(folder, 'devices.json');
  writeDeviceFile(devices, new Map([['pump-9', newDevice({ deviceId: 'pump-9', attributes: { group: 'north' } })]]));
  const statements = join(folder, 'statements.json');
  writeFileSync(
    statements,
    JSON.stringify({ version: 1, statements: [{ effect: 'allow', actions: ['connect', 'publish', 'subscribe'] }] }),
  );
  const tls = { certificates: [new Authority('console').issue('localhost', ['DNS:localhost'])] };
  const bind = '127.0.0.1:0';
  const broker = await startHttpBroker(t, {
    shards: SHARDS,
    listeners: [
      { type: 'tcp', bind },
      { type: 'http', bind },
      { type: 'tls', bind, tls },
    ],
    'auth.allowAnonymous': true,
    'auth.authenticators': [
      { type: 'users', file: users },
      { type: 'devices', file: devices },
    ],
    'auth.file': join(folder, 'authenticators.json'),
    'auth.blocked': join(folder, 'blocked.json'),
    'authorization.statements': [{ effect: 'allow', resource: 'p2p', actions: ['publish', 'observe'] }],
    'authorization.file': statements,
    'http.auditLog': join(folder, 'audit.log'),
    'history.enabled': true,
    'history.path': join(folder, 'history'),
    'store.backups': join(folder, 'backups'),
  });
  for (let number = 1; number <= 4; number++) {
    const pump = await connect(broker.port, { clientId: `pump-${number}`, properties: { sessionExpiryInterval: 600 } });
    await pump.subscribe(number > 2 ? '$share/workers/jobs/#' : `pumps/${number}/#`, { qos: 1 });
    await pump.publish(`pumps/${number}/state`, '{"pressure": 2.4}', { qos: 1, retain: true });
  }
  return broker;
}
