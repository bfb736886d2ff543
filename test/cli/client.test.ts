/**
 * Goal: a newcomer needs nothing but `onehop` itself to try it: start, pub, sub and p2p work with each other and say in words what happened.
 * Method: one broker on a free port with two shards and the client commands, all as children; output and exit codes are compared.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import test, { after, before, describe } from 'node:test';
import { beginBroker, beginCommand, type Ended, type Running, runCommand, stopCommands } from './run-command.ts';

let broker: Running;
let port: string;

before(async () => {
  ({ broker, port } = await beginBroker(2));
});
after(stopCommands);

function client(command: string, ...args: string[]): Promise<Ended> {
  return runCommand([command, '--port', port, ...args]);
}

/** A subscriber that is ready. */
async function beginSub(...args: string[]): Promise<Running> {
  const running = beginCommand(['sub', '--port', port, ...args]);
  await running.says(/^connected as /m);
  return running;
}

describe('pub and sub', () => {
  for (const version of ['5', '4', '3']) {
    for (const qos of ['0', '1', '2']) {
      test(`MQTT version ${version}, QoS ${qos}`, async () => {
        const topic = `demo/${version}/${qos}`;
        const running = await beginSub('-t', `demo/${version}/+`, '-t', 'other', '-n', '1', '-v', '-q', qos, '--mqtt-version', version);
        const sent = await client('pub', '-t', topic, '-m', 'good morning ☀', '-q', qos, '--mqtt-version', version);
        assert.deepEqual(sent, { exit: 0, stdout: '', stderr: '' });
        const received = await running.ended;
        assert.equal(received.exit, 0);
        assert.equal(received.stdout, `${topic} good morning ☀\n`);
      });
    }
  }

  test('a retained message waits for its subscriber', async () => {
    await client('pub', '-t', 'kept', '-m', 'still here', '-r', '-q', '1');
    const received = await client('sub', '-t', 'kept', '-n', '1');
    assert.deepEqual([received.exit, received.stdout], [0, 'still here\n']);
  });

  test('a message that nobody wants is published all the same, and pub says so', async () => {
    const { exit, stderr } = await client('pub', '-t', 'nobody', '-m', 'x', '-q', '1');
    assert.deepEqual([exit, stderr], [0, 'No matching subscribers (0x10)\n']);
  });

  test('SIGINT ends sub with success', async () => {
    const running = await beginSub('-t', 'quiet');
    running.kill('SIGINT');
    assert.equal((await running.ended).exit, 0);
  });
});

describe('p2p', () => {
  test('reaches a connected client that subscribes to nothing', async () => {
    const running = await beginSub('--client-id', 'dev-1', '-n', '1', '-v');
    const sent = await client('p2p', '-c', 'dev-1', '-m', 'reboot', '--report', '--receipt');
    assert.equal(sent.exit, 0, sent.stderr);
    assert.match(sent.stdout, /^dev-1: delivered: sent to the connected client\ndev-1: acknowledged by the client at \d{4}-.*Z\n$/);
    assert.equal((await running.ended).stdout, 'cmd/p2p/dev-1 reboot\n');
  });

  test('waits in the session of a client that is away', async () => {
    const first = await beginSub('--client-id', 'dev-2', '--session', '60');
    first.kill('SIGTERM');
    await first.ended;
    const sent = await client('p2p', '-c', 'dev-2', '-m', 'later', '--first', 'rpc', '--report');
    assert.deepEqual(sent, { exit: 0, stdout: 'dev-2: queued: waits in the session of the client\n', stderr: '' });
    const received = await client('sub', '--client-id', 'dev-2', '--session', '60', '-q', '1', '-n', '1', '-v');
    assert.equal(received.stdout, 'rpc/p2p/dev-2 later\n');
  });

  test('says when there is no such client', async () => {
    const plain = await client('p2p', '-c', 'nobody', '-m', 'x');
    assert.equal(plain.exit, 1);
    assert.match(plain.stderr, /^onehop: no session: nobody is not known to the broker/);
    const detailed = await client('p2p', '-c', 'nobody', '-m', 'x', '-q', '2', '--report');
    assert.equal(detailed.exit, 1);
    assert.equal(detailed.stdout, 'nobody: no session: no such client, nothing kept\n');
  });

  test('several targets, one with a name that no topic can hold', async () => {
    const strange = await beginSub('--client-id', 'a+b#=c', '-n', '1');
    const { exit, stdout, stderr } = await client('p2p', '-c', 'a+b#=c', '-c', 'nobody', '-m', 'x', '--report');
    assert.deepEqual([exit, stderr], [1, 'onehop: not taken for nobody\n'], 'not everybody has it');
    assert.equal(stdout, 'a+b#=c: delivered: sent to the connected client\nnobody: no session: no such client, nothing kept\n');
    assert.equal((await strange.ended).stdout, 'x\n');
  });

  test('a receipt of a target that did not take the message says why', async () => {
    const running = await beginSub('--client-id', 'dev-3', '-n', '1');
    const { exit, stdout, stderr } = await client('p2p', '-c', 'dev-3', '-c', 'nobody', '-m', 'x', '--receipt');
    assert.deepEqual([exit, stderr], [1, 'onehop: not acknowledged: nobody\n']);
    assert.match(stdout, /^nobody: dropped at \d{4}-\S+Z \(no session: no such client, nothing kept\)$/m);
    assert.match(stdout, /^dev-3: acknowledged by the client at /m);
    assert.doesNotMatch(stdout, /delivered: /, 'the report was not asked for');
    assert.equal((await running.ended).exit, 0);
  });

  test('MQTT 3.1.1 and QoS 0 say what they can', async () => {
    assert.equal(
      (await client('p2p', '-c', 'nobody', '-m', 'x', '--mqtt-version', '4')).stdout,
      'accepted by the broker; only MQTT 5 tells more\n',
    );
    assert.equal((await client('p2p', '-c', 'nobody', '-m', 'x', '-q', '0')).stdout, 'sent; QoS 0 is not answered\n');
  });
});

describe('failures', () => {
  test('no broker', async () => {
    const free = createServer();
    const closed = await new Promise<number>((resolve) => {
      free.listen(0, '127.0.0.1', () => {
        const address = free.address();
        free.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
      });
    });
    const { exit, stderr } = await runCommand(['pub', '--port', String(closed), '-t', 'x', '-m', 'x']);
    assert.equal(exit, 1);
    const todo = 'nothing listens there; start a broker ("onehop start"), or say where it is: --host, --port';
    assert.equal(stderr, `onehop: cannot connect to 127.0.0.1:${closed}: ${todo}\n`);
  });

  test('what answers is no MQTT listener', async (t) => {
    const serve = async (answer: (socket: Socket) => void): Promise<string> => {
      const server = createServer((socket) => socket.on('error', () => {}).once('data', () => answer(socket))).listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      return String((server.address() as AddressInfo).port);
    };
    const place = 'give the port of a listener of type tcp (--port)';
    const closing = `it was closed without an answer; ${place}; the log of the broker says whom it does not let in`;
    for (const [answer, expected] of [
      [
        (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
        `what answers does not speak MQTT 5; ${place}, or another --mqtt-version`,
      ],
      [(socket: Socket) => socket.end(), closing],
      [(socket: Socket) => socket.resetAndDestroy(), closing],
    ] as const) {
      const wrong = await serve(answer);
      for (const args of [
        ['pub', '-t', 'x', '-m', 'x'],
        ['sub', '-t', 'x'],
        ['p2p', '-c', 'x', '-m', 'x'],
      ])
        assert.deepEqual(await runCommand([...args, '--port', wrong]), {
          exit: 1,
          stdout: '',
          stderr: `onehop: cannot connect to 127.0.0.1:${wrong}: ${expected}\n`,
        });
    }
  });

  test('a port in use is one line that names it', async () => {
    const { exit, stderr } = await runCommand(['start', '--shards', '1', '--set', `listeners=[{ type: tcp, bind: 127.0.0.1:${port} }]`]);
    assert.equal(exit, 1);
    assert.match(stderr, new RegExp(`^onehop: [^\\n]*127\\.0\\.0\\.1:${port}[^\\n]*\\n$`));
  });

  test('the broker stops on SIGTERM with success, and a subscriber is told', async () => {
    const running = await beginSub('-t', 'last');
    broker.kill('SIGTERM');
    const { exit, stderr } = await broker.ended;
    assert.equal(exit, 0, stderr);
    const told = await running.ended;
    assert.equal(told.exit, 1);
    assert.match(told.stderr, /onehop: the broker ended the connection: Server shutting down \(0x8b\)/);
  });
});
