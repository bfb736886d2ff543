/*
 * Goal: the log is one JSON object in one line for each event, with level, time, facts and sentence, and a line is out before the process can die.
 * Method: a child process logs at several levels and ends itself the hard way; its output is read back.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';

const log = new URL('../../src/base/log.js', import.meta.url).href;

function linesOf(level: string): Record<string, unknown>[] {
  const script = `
    import { createLog } from ${JSON.stringify(log)};
    const log = createLog(${JSON.stringify(level)}, { shard: 3 });
    log.trace({}, 'finest');
    log.debug({}, 'fine');
    log.info({ port: 1883, text: 'line\\nbreak' }, 'listening');
    log.warn({}, 'hm');
    log.error({ error: 'gone' }, 'last words');
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(child.signal, 'SIGKILL', child.stderr);
  assert.ok(child.stdout === '' || child.stdout.endsWith('\n'));
  return child.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line for each event at or above the level, written at once', () => {
  const lines = linesOf('info');
  assert.deepEqual(
    lines.map((line) => [line['level'], line['msg']]),
    [
      ['info', 'listening'],
      ['warn', 'hm'],
      ['error', 'last words'],
    ],
  );
  const [first] = lines;
  assert.equal(first!['shard'], 3);
  assert.equal(first!['port'], 1883);
  assert.equal(first!['text'], 'line\nbreak');
  assert.ok(Math.abs(Date.parse(String(first!['time'])) - Date.now()) < 60_000);
  assert.equal(first!['pid'], undefined);
});

test('the level can be changed, before and after the first line', () => {
  const script = `
    import { changeLogLevel, createLog } from ${JSON.stringify(log)};
    const log = createLog('silent', { shard: 3 });
    log.error({}, 'not yet');
    changeLogLevel(log, 'debug');
    log.debug({}, 'now');
    changeLogLevel(log, 'warn');
    log.info({}, 'no more');
    log.warn({}, 'still');`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000 });
  assert.deepEqual(stdout.match(/"msg":"[^"]*"/g), ['"msg":"now"', '"msg":"still"'], stderr);
});

test('trace writes everything, silent nothing', () => {
  assert.equal(linesOf('trace').length, 5);
  assert.equal(linesOf('silent').length, 0);
});
