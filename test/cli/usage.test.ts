/**
 * Goal: exit code 0 is success, 1 failure, 2 wrong usage; a mistake gives lines for a person, never a stack trace.
 * Method: the compiled command runs as a child; exit code and the whole output are compared.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, describe } from 'node:test';
import { StopRequest } from '../../src/cli/stop-request.ts';
import { runCommand, runUnread, stopCommands } from './run-command.ts';

const folder = mkdtempSync(join(tmpdir(), 'onehop-cli-'));
after(() => {
  stopCommands();
  rmSync(folder, { recursive: true });
});

describe('help and version', () => {
  test('every command explains itself with an example', async () => {
    for (const command of ['start', 'check-config', 'version', 'pub', 'sub', 'p2p']) {
      const { exit, stdout, stderr } = await runCommand([command, '--help']);
      assert.equal(exit, 0, command);
      assert.match(stdout, new RegExp(`^Usage: onehop ${command}[^]*Example:\\n {2}onehop ${command}`));
      assert.equal(stderr, '');
    }
    const { exit, stdout } = await runCommand(['--help']);
    assert.equal(exit, 0);
    assert.match(stdout, /Usage: onehop \[options\] \[command\]/);
  });

  test('who has read enough of it ends a command without a word', async () => {
    for (const line of [
      ['--help'],
      ['start', '--help'],
      ['version'],
      ['completion', 'bash'],
      ['user', 'list', '--file', join(folder, 'none')],
    ]) {
      const { exit, stderr } = await runUnread(line);
      assert.equal(stderr.includes(' at '), false, stderr);
      assert.equal(exit, line[0] === 'user' ? 1 : 0, line.join(' '));
    }
  });

  test('the version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    const expected = { exit: 0, stdout: `onehop ${version} (Node ${process.versions.node})\n`, stderr: '' };
    assert.deepEqual(await runCommand(['version']), expected);
    assert.deepEqual(await runCommand(['--version']), expected);
    const value = await runCommand(['pub', '-t', 'x', '-m', '--version', '--port', '1']);
    assert.deepEqual([value.exit, value.stdout], [1, ''], 'behind a command it is a value');
  });
});

describe('wrong usage', () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: onehop/],
    [['strat'], /unknown command 'strat'\n\(Did you mean start\?\)/],
    [['start', '--port', '1'], /unknown option '--port'/],
    [['start', 'extra'], /too many arguments/],
    [['check-config'], /missing required argument 'file'/],
    [['pub', '-m', 'x'], /required option '-t, --topic <topic>' not specified/],
    [['pub', '-t', 'x', '-m', 'x', '-q', '3'], /argument '3' is invalid. Expected a whole number from 0 to 2/],
    [['pub', '-t', 'x', '-m', 'x', '--port', '99999'], /Expected a whole number from 1 to 65535/],
    [['pub', '-t', 'x', '-m', 'x', '--mqtt-version', '6'], /Allowed choices are 5, 4, 3/],
    [['pub', '-t', 'x', '-m', 'x', '--mqtt-version', '4', '--property', 'a=b'], /--property needs --mqtt-version 5/],
    [['pub', '-t', 'x', '-m', 'x', '--property', 'a'], /--property a: expected key=value/],
    [['sub'], /give a filter \(-t\), or a client ID/],
    [['sub', '-t', 'x', '-n', '0'], /Expected a whole number from 1/],
    [['p2p', '-c', 'x', '-m', 'x', '-q', '0', '--report'], /--report and --receipt need -q 1 or -q 2/],
    [['p2p', '-c', 'x', '-m', 'x', '--mqtt-version', '4', '--receipt'], /need --mqtt-version 5/],
  ];
  for (const [args, pattern] of cases) {
    test(`onehop ${args.join(' ')}`, async () => {
      const { exit, stdout, stderr } = await runCommand(args);
      assert.equal(exit, 2);
      assert.match(stderr, pattern);
      assert.doesNotMatch(stderr, /\n {4}at /);
      assert.equal(stdout, '');
    });
  }
});

describe('configuration', () => {
  test('check-config says ok, with what would listen', async () => {
    const file = join(folder, 'good.yaml');
    writeFileSync(file, 'shards: 3\nlisteners: [{ type: tcp, bind: "[::1]:1884" }]\n');
    assert.deepEqual(await runCommand(['check-config', file]), { exit: 0, stdout: `${file}: ok (tcp [::1]:1884; 3 shards)\n`, stderr: '' });
  });

  test('every problem is one line, for check-config and for start', async () => {
    const file = join(folder, 'bad.yaml');
    writeFileSync(file, 'shard: 3\nlisteners: [{ type: tcp, bind: 0.0.0.0:1883 }]\n');
    const open = 'other machines can reach 0.0.0.0:1883 and nothing authenticates clients';
    const expected = [
      'onehop: ONEHOP_LOG__LEVEL: expected one of trace, debug, info, warn, error, silent, not "loud"',
      `onehop: ${file}:1: shard: unknown key; did you mean shards?`,
      `onehop: ${file}:2: listeners[0].bind: ${open}: write auth.allowAnonymous: true to open it to everyone, or auth.authenticators or auth.file, or bind to 127.0.0.1`,
    ].sort();
    for (const args of [
      ['check-config', file],
      ['start', '--config', file],
    ]) {
      const { exit, stdout, stderr } = await runCommand(args, { ONEHOP_LOG__LEVEL: 'loud' });
      assert.equal(exit, 2);
      assert.deepEqual(stderr.trimEnd().split('\n').sort(), expected);
      assert.equal(stdout, '');
    }
  });

  test('check-config reads the files that the configuration names, and says all that is wrong with them', async () => {
    const place = (name: string): string => join(folder, name);
    const file = place('files.yaml');
    writeFileSync(
      file,
      [
        'listeners: [{ type: tcp, bind: 127.0.0.1:1883 }, { type: http, bind: 127.0.0.1:8080 }]',
        'authorization: { file: ./statements.json }',
        'auth: { blocked: ./blocked.json, authenticators: [{ type: users, file: ./users.json }, { type: devices, file: ./devices.json }] }',
        'http: { apiKeys: ./keys.json }',
        '',
      ].join('\n'),
    );
    const run = async (): Promise<[number | string, string[]]> => {
      const { exit, stdout, stderr } = await runCommand(['check-config', file]);
      return [exit, (stdout + stderr).trimEnd().split('\n')];
    };
    const missing = await run();
    assert.equal(missing[0], 1);
    assert.deepEqual(
      missing[1].map((line) => line.slice(0, line.indexOf(';'))),
      [
        `onehop: authorization.file: ${place('statements.json')}: no such file`,
        `onehop: auth.authenticators[0]: ${place('users.json')}: no such file`,
        `onehop: auth.authenticators[1]: ${place('devices.json')}: no such file`,
      ],
    );
    writeFileSync(place('users.json'), '{ "version": 1, "users": [] }');
    writeFileSync(place('devices.json'), '{ "version": 1, "devices": [{ "deviceId": "" }] }');
    writeFileSync(place('blocked.json'), '{');
    writeFileSync(place('keys.json'), '[]');
    const wrong = [
      { effect: 'maybe', actions: ['publish'], topics: ['a/#/b'] },
      { effect: 'allow', actions: ['publish'], topic: 'x' },
    ];
    writeFileSync(place('statements.json'), JSON.stringify({ version: 1, statements: wrong }));
    const [exit, lines] = await run();
    assert.equal(exit, 1);
    for (const [index, expected] of [
      /^onehop: authorization\.file: .*\/statements\.json: statements\.0\.effect: expected one of allow, deny, not "maybe"$/,
      /^onehop: authorization\.file: .*\/statements\.json: statements\.0\.topics: .*#/,
      /^onehop: authorization\.file: .*\/statements\.json: statements\.1: unknown key topic$/,
      /^onehop: auth\.authenticators\[1\]: .*\/devices\.json: devices\.0: deviceId/,
      /^onehop: auth\.blocked: .*\/blocked\.json: this is no JSON/,
      /^onehop: http\.apiKeys: .*\/keys\.json: /,
    ].entries())
      assert.match(lines[index]!, expected, lines.join('\n'));
    for (const name of ['blocked', 'keys']) rmSync(place(`${name}.json`));
    writeFileSync(place('devices.json'), '{ "version": 1, "devices": [] }');
    writeFileSync(
      place('statements.json'),
      '{ "version": 1, "statements": [{ "effect": "allow", "actions": ["publish"], "topics": ["a/#"] }] }',
    );
    assert.deepEqual((await run())[0], 0);
  });

  test('a file that cannot be read is a failure', async () => {
    const file = join(folder, 'missing.yaml');
    for (const args of [
      ['check-config', file],
      ['start', '-c', file],
    ]) {
      assert.deepEqual(await runCommand(args), { exit: 1, stdout: '', stderr: `onehop: ${file}: cannot read this file: no such file\n` });
    }
  });
});

describe('signals', () => {
  test('the first stops, a copy of it is nothing, a later one exits', () => {
    const calls: string[] = [];
    const request = new StopRequest(
      () => calls.push('stop'),
      () => calls.push('exit'),
    );
    request.signal(1_000);
    request.signal(1_004);
    assert.deepEqual(calls, ['stop']);
    request.signal(2_000);
    assert.deepEqual(calls, ['stop', 'exit']);
  });
});
