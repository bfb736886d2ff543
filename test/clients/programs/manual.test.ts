/**
 * Goal: the examples of docs/p2p.md for mosquitto, Python, Java and Go work as they stand there, and what the page says about Paho Go without a default
 * publish handler is true.
 * Method: the examples are read out of the page, compiled where the language asks for it, and run against a broker with two shards.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { beginProgram, type ChildProgram, runProgram } from '../child-program.ts';
import { Manual } from '../manual.ts';
import { preparedFolder, programsFolder } from './client-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'onehop-manual-'));
let broker: TestBroker;
let manual: Manual;

before(async () => {
  broker = await startBroker({ shards: 2 });
  manual = new Manual(broker.port);
});
after(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A command that starts a program. */
type Command = readonly [string, ...string[]];

function begin([program, ...args]: Command): ChildProgram {
  return beginProgram(program, args);
}

/** Writes an example below the folder of this test. @returns its path */
function save(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function python(name: string): Command {
  return [join(preparedFolder, 'python/bin/python'), save(name, manual.file(name))];
}

/** Java runs a single source by itself. */
function java(name: string): Command {
  return ['java', '-cp', `${join(preparedFolder, 'java')}/*`, save(name, manual.file(name))];
}

async function compileGo(name: string, text: string): Promise<Command> {
  const module = join(folder, name);
  mkdirSync(module);
  for (const file of ['go.mod', 'go.sum']) cpSync(join(programsFolder, 'go', file), join(module, file));
  writeFileSync(join(module, 'main.go'), text);
  const { exit, stderr } = await runProgram(join(preparedFolder, 'go'), ['build', '-o', 'program', '.'], module);
  assert.equal(exit, 0, stderr);
  return [join(module, 'program')];
}

function go(name: string): Promise<Command> {
  return compileGo(name, manual.file(name));
}

/** Starts a receiver, runs a sender, and waits until the receiver prints what it got. @returns what the sender printed */
async function exchange(receiver: Command, sender: Command): Promise<string> {
  const receiving = begin(receiver);
  await receiving.says(/^connected$/);
  const { exit, stdout, stderr } = await begin(sender).ended;
  assert.deepEqual([exit, stderr], [0, '']);
  await receiving.says(/^cmd\/p2p\/dev-1: reboot$/);
  receiving.kill('SIGKILL');
  await receiving.ended;
  return stdout;
}

test('mosquitto_sub and mosquitto_pub', async () => {
  const [receive] = manual.commands('mosquitto_sub');
  const [send, sendWithReport] = manual.commands('mosquitto_pub');
  // The example runs on; here it prints at once and ends after two messages.
  const receiver = begin(['stdbuf', '-oL', 'mosquitto_sub', '-d', '-C', '2', ...receive!]);
  await receiver.says(/^Subscribed/);
  assert.deepEqual(await begin(['mosquitto_pub', ...send!]).ended, { exit: 0, stdout: '', stderr: '' });
  assert.match((await begin(['mosquitto_pub', ...sendWithReport!]).ended).stdout, /received PUBACK \(Mid: 1, RC:0\)/);
  const { exit, stdout } = await receiver.ended;
  assert.equal(exit, 0);
  assert.deepEqual(stdout.match(/^cmd.*$/gm), ['cmd/p2p/dev-1 reboot', 'cmd/p2p/dev-1 reboot']);
});

test('Paho Python', async () => {
  assert.equal(await exchange(python('receive.py'), python('send.py')), "Success: [('p2p-status', 'dev-1=delivered')]\n");
});

test('Paho Java', async () => {
  await exchange(java('Receive.java'), java('Send.java'));
});

test('Paho Go, with the default publish handler', async () => {
  await exchange(await go('receive.go'), await go('send.go'));
});

test('Paho Go without a handler drops the message and does not acknowledge it', async () => {
  const whole = manual.file('receive.go');
  const withoutHandler =
    whole.slice(0, whole.indexOf('\toptions.SetDefaultPublishHandler')) + whole.slice(whole.indexOf('\toptions.SetOnConnectHandler'));
  // A subscription with a function of its own shows when the client has passed the message by.
  const text = withoutHandler.replace(
    '\t\tfmt.Println("connected")',
    '\t\tclient.Subscribe("end", 1, func(mqtt.Client, mqtt.Message) { fmt.Println("end") }).Wait()\n$&',
  );
  const receiver = begin(await compileGo('without-handler', text));
  await receiver.says(/^connected$/);
  // The receipt says what became of it: the client never acknowledges, so its clean session ends with the message in it.
  const sender = beginProgram(process.execPath, [
    join(import.meta.dirname, '../../../src/cli/main.js'),
    ...['p2p', '--port', String(broker.port), '-c', 'dev-1', '-m', 'reboot', '--report', '--receipt'],
  ]);
  await sender.says(/^dev-1: delivered/);
  await runProgram('mosquitto_pub', ['-p', String(broker.port), '-t', 'end', '-m', 'end', '-q', '1']);
  await receiver.says(/^end$/);
  receiver.kill('SIGKILL');
  assert.match((await sender.ended).stdout, /^dev-1: the session of the client ended before it got it/m);
  assert.equal((await receiver.ended).stdout, 'connected\nend\n');
});

test('Paho Go, MQTT 5', async () => {
  await exchange(await go('receive5.go'), await compileGo('send-again', manual.file('send.go')));
});
