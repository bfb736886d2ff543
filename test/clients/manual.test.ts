/**
 * Goal: what docs/p2p.md shows works as it stands there.
 * Method: the examples for `onehop` itself and for MQTT.js are read out of the page and run against a broker. Those for other languages are run by
 * programs/manual.test.ts.
 */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { beginProgram, type ChildProgram } from './child-program.ts';
import { Manual } from './manual.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const onehop = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
let broker: TestBroker;
let manual: Manual;

before(async () => {
  broker = await startBroker({ shards: 2 });
  manual = new Manual(broker.port);
});
after(() => broker.stop());

/** Runs an ECMAScript module that lies nowhere; packages are found from the root. */
function beginModule(text: string): ChildProgram {
  return beginProgram(process.execPath, ['--input-type=module', '--eval', text], root);
}

test('every example belongs to a test', () => {
  const others = ['receive.py', 'send.py', 'Receive.java', 'Send.java', 'receive.go', 'send.go', 'receive5.go'];
  assert.deepEqual(manual.files.sort(), ['receive.mjs', 'send.mjs', ...others].sort());
});

test('onehop sub and onehop p2p', async () => {
  const [[subArgs], [p2pArgs]] = [manual.commands('onehop sub'), manual.commands('onehop p2p')];
  const port = ['--port', String(broker.port)];
  const receiver = beginProgram(process.execPath, [onehop, ...subArgs!, ...port]);
  await receiver.says(/^connected as dev-1$/);
  const sender = await beginProgram(process.execPath, [onehop, ...p2pArgs!, ...port]).ended;
  assert.match(sender.stdout, /^dev-1: delivered: .*\ndev-1: acknowledged by the client at .*\n$/);
  await receiver.says(/^cmd\/p2p\/dev-1 reboot$/);
  receiver.kill('SIGTERM');
  assert.equal((await receiver.ended).exit, 0);
});

test('MQTT.js', async () => {
  const receiver = beginModule(manual.file('receive.mjs'));
  await receiver.says(/^connected$/);
  const sender = await beginModule(manual.file('send.mjs')).ended;
  assert.deepEqual(sender, { exit: 0, stdout: 'report: dev-1=delivered\nreceipt: dev-1 acknowledged\n', stderr: '' });
  await receiver.says(/^cmd\/p2p\/dev-1: reboot$/);
  receiver.kill('SIGKILL');
  await receiver.ended;
});
