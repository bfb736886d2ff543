/*
 * Goal: what an operator does from a terminal is done, and what is printed is what there is: clients, subs, kick, publish, p2p --confirm, top, alarms.
 * Method: the compiled program as child processes beside real MQTT clients of one real broker with two shards; on a terminal (a pseudo-terminal of util-linux's `script`) and in pipes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connackCode, connect, payloadText, type TestClient, userValues } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { beginCommand, type Ended, type Running, runCommand } from './run-command.ts';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

interface Scene {
  readonly broker: HttpBroker;
  run(...args: string[]): Promise<Ended>;
  begin(...args: string[]): Running;
  client(clientId: string): Promise<TestClient>;
}

async function scene(t: TestContext): Promise<Scene> {
  const broker = await startHttpBroker(t, { shards: 2 });
  const env = { XDG_CONFIG_HOME: storeDirectory(), ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.operator };
  return {
    broker,
    run: (...args) => runCommand(args, env),
    begin: (...args) => beginCommand(args, env),
    client: async (clientId) => {
      const client = await connect(broker.port, { clientId, properties: { sessionExpiryInterval: 600 } });
      t.after(() => client.destroy());
      return client;
    },
  };
}

function lines(ended: Ended): string[] {
  assert.equal(ended.exit, 0, ended.stderr);
  return ended.stdout.trimEnd().split('\n');
}

describe('an operator at a terminal', { concurrency: 2 }, () => {
  test('sees clients and subscriptions, and ends them', async (t) => {
    const { run, client } = await scene(t);
    const pumps = await Promise.all(['pump-1', 'pump-2', 'valve-1'].map(client));
    await pumps[0]!.subscribe([{ filter: 'plant/+/temp', qos: 1 }, { filter: '$share/g/jobs' }]);
    const [head, ...rows] = lines(await run('clients', '--prefix', 'pump-'));
    assert.match(head!, /^CLIENT +USER +STATE +SINCE +ADDRESS +MQTT +SUBS/);
    assert.deepEqual(
      rows.map((row) => row.split(' ')[0]),
      ['pump-1', 'pump-2'],
    );
    const asJson = lines(await run('clients', '--json')).map((line) => JSON.parse(line) as { clientId: string; subscriptions: number });
    assert.deepEqual(asJson.map(({ clientId }) => clientId).sort(), ['pump-1', 'pump-2', 'valve-1']);
    const some = await run('clients', '--limit', '1');
    assert.equal(lines(some).length, 2);
    assert.match(some.stderr, /^1 (of 3 )?shown; --all shows the rest\n$/);
    assert.equal(lines(await run('clients', 'list', '--limit', '1', '--all')).length, 4);
    assert.deepEqual(lines(await run('clients', '--contains', 'lve-', '--json')).length, 1);
    const detail = lines(await run('clients', 'show', 'pump-1')).join('\n');
    assert.match(detail, /client id +pump-1\n[\s\S]*protocol +5\.0[\s\S]*\n {2}plant\/\+\/temp \(QoS 1\)/);

    assert.match(lines(await run('subs', '--topic', 'plant/1/temp')).join('\n'), /^CLIENT.*\npump-1 +plant\/\+\/temp +1/);
    assert.equal(lines(await run('subs', 'add', 'valve-1', 'plant/#', '-q', '0'))[0], 'valve-1 subscribes to plant/# (QoS 0)');
    await pumps[1]!.publish('plant/1/temp', '21.5', { qos: 1 });
    assert.equal(payloadText(await pumps[2]!.next()), '21.5');
    lines(await run('subs', 'remove', 'valve-1', 'plant/#'));
    assert.equal(lines(await run('subs', '--client', 'valve-1')).length, 1, 'a head alone');

    const kicked = await run('kick', 'pump-1', 'nobody', 'pump-2');
    assert.deepEqual([kicked.exit, kicked.stdout], [1, 'pump-1: disconnected\npump-2: disconnected\n']);
    assert.match(kicked.stderr, /^onehop: nobody: /);
    assert.equal((await pumps[0]!.closed).code, 0x98);
    assert.match(lines(await run('clients', 'list', '--state', 'disconnected')).join('\n'), /pump-1[\s\S]*pump-2/);
    assert.deepEqual(lines(await run('kick', 'pump-1')), ['pump-1: was not connected; its session stays']);
    assert.deepEqual(lines(await run('clients', 'kick', '--session', 'pump-1')), ['pump-1: was not connected; its session has ended']);
    assert.equal((await run('clients', 'show', 'pump-1')).exit, 1);
    assert.deepEqual(lines(await run('kick', '--session', 'valve-1')), ['valve-1: disconnected, its session has ended']);
    assert.deepEqual(lines(await run('alarms')), ['no alarms']);
  });

  test('ends connections with their Wills, or without', async (t) => {
    const { broker, run, client } = await scene(t);
    const reader = await client('reader');
    await reader.subscribe('gone/#', { qos: 1 });
    for (const clientId of ['quiet', 'loud']) {
      const dying = await connect(broker.port, { clientId, will: { topic: `gone/${clientId}` } });
      t.after(() => dying.destroy());
    }
    assert.deepEqual(lines(await run('kick', '--no-will', 'quiet')), ['quiet: disconnected, its session has ended']);
    assert.deepEqual(lines(await run('kick', 'loud')), ['loud: disconnected, its session has ended']);
    assert.equal((await reader.next()).topic, 'gone/loud');
  });

  test('adds, switches and removes who judges logins', async (t) => {
    const folder = storeDirectory();
    const broker = await startHttpBroker(t, { shards: 1, 'auth.file': join(folder, 'authenticators.json') });
    const env = { XDG_CONFIG_HOME: folder, ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.admin };
    const run = (...args: string[]): Promise<Ended> => runCommand(['authenticators', ...args], env);
    const written = join(folder, 'tokens.json');
    writeFileSync(written, JSON.stringify({ type: 'jwt', algorithms: ['HS256'], secretText: 'a secret of at least 32 characters' }));
    const code = (): Promise<number> => connackCode(broker.port, { clientId: 'dev-1', username: 'any', password: 'no token' });

    assert.equal(lines(await run()).length, 1, 'a head alone');
    assert.equal(lines(await run('add', 'tokens', '-f', written))[0], 'tokens: added; it judges logins from now on');
    const [head, row] = lines(await run('list'));
    assert.match(head!, /^NAME +TYPE +STATE +BY +ACCEPTED +REFUSED +FAILED/);
    assert.match(row!, /^tokens +jwt +on /);
    assert.equal(await code(), 0x86);
    assert.equal((JSON.parse(lines(await run('list', '--json'))[0]!) as { ignored: number }).ignored, 1);

    assert.equal(lines(await run('off', 'tokens'))[0], 'tokens: off; it is not asked');
    assert.match(lines(await run())[1]!, /^tokens +jwt +off /);
    assert.equal(lines(await run('on', 'tokens'))[0], 'tokens: on');
    assert.equal(await code(), 0x86);
    lines(await run('remove', 'tokens'));
    assert.equal(lines(await run()).length, 1);

    const again = await run('remove', 'tokens');
    assert.equal(again.exit, 1);
    assert.match(again.stderr, /^onehop: .*tokens/);
    writeFileSync(written, JSON.stringify({ type: 'jwt', algorithms: ['HS256'], secretText: 'x'.repeat(32), isActive: false }));
    assert.equal(lines(await run('add', 'later', '-f', written))[0], 'later: added; it is off');
    writeFileSync(written, '{ "secretText": hunter2hunter2 }');
    const broken = await run('add', 'broken', '-f', written);
    assert.deepEqual([broken.exit, broken.stderr.includes('hunter2')], [1, false], broken.stderr);
    writeFileSync(written, '[1]');
    assert.match((await run('add', 'tokens', '-f', written)).stderr, /expected a JSON object/);
    assert.match((await run('add', 'tokens', '-f', join(folder, 'nothing'))).stderr, /nothing: ENOENT/);
  });

  test('publishes, and writes to a device until it has it', async (t) => {
    const { run, begin, client } = await scene(t);
    const device = await client('dev-1');
    await device.subscribe('plant/#', { qos: 1 });
    lines(
      await run('publish', '-t', 'plant/a b/ü', '-m', 'x=1', '--property', 'unit:x=°C,a', '--content-type', 'text/plain', '--expiry', '60'),
    );
    const message = await device.next();
    assert.equal(message.topic, 'plant/a b/ü');
    assert.equal(payloadText(message), 'x=1');
    assert.deepEqual(userValues(message.properties, 'unit:x'), ['°C,a']);
    assert.equal(message.properties.contentType, 'text/plain');
    const nobody = await run('publish', '-t', 'nobody', '-m', '');
    assert.deepEqual([nobody.exit, nobody.stderr], [0, 'nobody subscribes to this topic\n']);
    assert.equal((await run('publish', '-t', 'a/#', '-m', 'x')).exit, 1);

    assert.match(lines(await run('p2p', '-c', 'dev-1', '-m', 'reboot', '--confirm'))[0]!, /^dev-1: acknowledged after \d+ ms$/);
    assert.equal(payloadText(await device.next()), 'reboot');
    const several = await run('p2p', '-c', 'dev-1', '-c', 'dev-2', '-m', 'again', '--confirm', '--json');
    assert.equal(several.exit, 1);
    const outcomes = several.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { status?: string; problem?: { code: string } });
    assert.deepEqual([outcomes[0]!.status, outcomes[1]!.problem?.code], ['acknowledged', 'no-session']);
    const away = await client('dev-3');
    await away.disconnect();
    const offline = await run('p2p', '-c', 'dev-3', '-m', 'x', '--confirm', '--if-online');
    assert.deepEqual([offline.exit, /^dev-3: offline: /.test(offline.stdout)], [1, true]);
    const late = begin('p2p', '-c', 'dev-3', '-m', 'x', '--confirm', '--timeout', '1');
    const { exit, stdout } = await late.ended;
    assert.deepEqual([exit, /^dev-3: timeout: /.test(stdout)], [1, true]);
  });

  test('watches the broker: once, in a pipe, and on a terminal that is as it was afterwards', async (t) => {
    const { run, broker, client } = await scene(t);
    await client('pump-1');
    const once_ = lines(await run('top', '--once'));
    assert.match(once_[0]!, /^onehop \S+ {2}\S+ {2}up .* UTC$/);
    assert.match(once_.join('\n'), /1 connected[\s\S]*\nshard {2}0 .*\nshard {2}1 .*\n/);
    assert.equal(once_.join('').includes('\u001b'), false);
    const look = JSON.parse((await run('top', '--once', '--json')).stdout) as { broker: { clientsConnected: number }; shards: object[] };
    assert.deepEqual([look.broker.clientsConnected, look.shards.length], [1, 2]);

    const terminal = spawn('script', ['-qec', `'${process.execPath}' '${main}' top --interval 1`, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', XDG_CONFIG_HOME: storeDirectory(), ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.viewer },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    const pictures = (): number => text.split('\u001b[H').length - 1;
    let isAsked = false;
    const ended = once(terminal, 'close');
    for await (const chunk of terminal.stdout.setEncoding('utf8')) {
      text += String(chunk);
      if (!isAsked && pictures() >= 2) {
        isAsked = true;
        terminal.stdin.write('q');
      }
    }
    const [exit] = (await ended) as [number];
    assert.equal(exit, 0);
    assert.ok(text.startsWith('\u001b[?1049h'), JSON.stringify(text.slice(0, 40)));
    assert.ok(text.trimEnd().endsWith('\u001b[?25h\u001b[?1049l'), JSON.stringify(text.slice(-40)));
    assert.match(text, /shard {2}1/);
    assert.ok(!text.includes('\u001b[2J'), 'the screen is never emptied, which would flicker');
  });
});
