/*
 * Goal: Tab offers what may follow, in a real bash, and never runs what has been typed.
 * Method: the choices from the tree of commands; the script in bash itself, with a program `onehop` in its path; the other scripts by each shell that is installed.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { choicesFor, completionScript, SHELLS } from '../../src/cli/completion.ts';
import { program } from '../../src/cli/program.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { runCommand } from './run-command.ts';

const root = program(() => {});

function offered(...words: string[]): string[] {
  return choicesFor(root, words).map(({ value }) => value);
}

/** A directory with a program `onehop`. */
function pathWithProgram(): string {
  const directory = storeDirectory();
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  writeFileSync(join(directory, 'onehop'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  chmodSync(join(directory, 'onehop'), 0o755);
  return `${directory}${delimiter}${process.env['PATH']}`;
}

describe('completion', () => {
  test('commands, options, values', () => {
    assert.deepEqual(offered('cl'), ['clients']);
    assert.ok(offered('').includes('start') && !offered('').includes('complete'));
    assert.deepEqual(offered('clients', ''), ['list', 'show', 'kick']);
    assert.deepEqual(offered('clients', '--st'), ['--state'], 'of the command that is meant where none is named');
    assert.deepEqual(offered('clients', '--state', ''), ['connected', 'disconnected']);
    assert.deepEqual(offered('clients', 'list', '--state=d'), ['--state=disconnected']);
    assert.deepEqual(offered('clients', 'list', '--state', '=', 'd'), ['disconnected'], 'as bash cuts words');
    assert.deepEqual(offered('clients', 'list', '--state', '='), ['connected', 'disconnected']);
    assert.deepEqual(offered('clients', '--prefix', '--st'), [], 'the value of an option is no option');
    assert.deepEqual(offered('completion', ''), [...SHELLS]);
    assert.deepEqual(offered('completion', 'bash', ''), []);
    assert.deepEqual(offered('kick', 'cl'), []);
    assert.deepEqual(offered('pub', '--', '-'), []);
    assert.deepEqual(offered('nonsense', 'x', '--x'), []);
    assert.deepEqual(offered(), offered(''));
  });

  test('in bash', () => {
    const directory = storeDirectory();
    const script = `
      source <(onehop completion bash) && source <(onehop completion bash)
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $(complete -p onehop | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo "\${COMPREPLY[*]}"; }
      complete -p onehop
      try onehop cl
      try onehop clients --state ''
      try onehop clients list --state = c
      try onehop kick '$(touch ${directory}/ran)'
    `;
    const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-uc', script], {
      encoding: 'utf8',
      env: { ...process.env, PATH: pathWithProgram() },
    });
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.deepEqual(stdout.split('\n').slice(1, -1), ['clients', 'connected disconnected', 'connected', '']);
    assert.match(stdout, /^complete -o default -F _onehop onehop\n/);
    assert.ok(!existsSync(join(directory, 'ran')), 'what is typed is not run');
  });

  test('every script is one for its shell', async () => {
    for (const shell of SHELLS) {
      assert.equal((await runCommand(['completion', shell])).stdout, completionScript(shell));
      const checked = spawnSync(shell, ['-n'], { input: completionScript(shell), encoding: 'utf8' });
      // Not every machine has every shell.
      if (checked.error === undefined) assert.equal(checked.status, 0, `${shell}: ${checked.stderr}`);
    }
    const unknown = await runCommand(['completion', 'tcsh']);
    assert.equal(unknown.exit, 2);
    assert.match(unknown.stderr, /Allowed choices are bash, zsh, fish/);
  });
});
