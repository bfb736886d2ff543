/**
 * A program that a test starts: what it prints, line by line, its end, and lines for its standard input.
 *
 * A test waits for a line or for the end, never for time to pass. Invariant: what a failed test leaves behind dies with the test process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How a program ended. */
export interface Ended {
  /** Exit code, or the name of the signal that ended it. */
  readonly exit: number | string;
  /** Everything that it wrote to standard output. */
  readonly stdout: string;
  /** Everything that it wrote to standard error. */
  readonly stderr: string;
}

/** A running program. */
export interface ChildProgram {
  /** Resolves with the first line, past or future, of either output that matches; rejects when the program ends without one. */
  says(pattern: RegExp): Promise<string>;
  /** Calls for every line of standard output from now on. */
  onLine(listen: (line: string) => void): void;
  /** Writes one line to its standard input. */
  tell(line: string): void;
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * Starts a program.
 * @param cwd its working folder; that of the test when left out
 */
export function beginProgram(command: string, args: readonly string[], cwd?: string): ChildProgram {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...(cwd === undefined ? {} : { cwd }) });
  running.add(child);
  // A program may end before it has read everything.
  child.stdin.on('error', () => undefined);
  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  const outputListeners = new Set<(line: string) => void>();
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      texts[name] += chunk;
    });
    createInterface({ input: child[name] }).on('line', (line) => {
      lines.push(line);
      for (const listen of [...listeners, ...(name === 'stdout' ? outputListeners : [])]) listen(line);
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', (error) => {
      running.delete(child);
      reject(new Error(`${command} cannot be started (test/clients/programs/prepare.sh gets what is needed): ${error.message}`));
    });
    child.on('close', (code, signal) => {
      running.delete(child);
      resolve({ exit: code ?? signal ?? 'unknown', ...texts });
    });
  });
  ended.catch(() => undefined);
  const says = (pattern: RegExp): Promise<string> => {
    const past = lines.find((line) => pattern.test(line));
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const look = (line: string): void => {
        if (!pattern.test(line)) return;
        listeners.delete(look);
        resolve(line);
      };
      listeners.add(look);
      ended.then(
        ({ exit, stdout, stderr }) => reject(new Error(`${command} ended with ${exit} before it said ${pattern}:\n${stdout}${stderr}`)),
        reject,
      );
    });
  };
  return {
    says,
    onLine: (listen) => void outputListeners.add(listen),
    tell: (line) => void child.stdin.write(`${line}\n`),
    ended,
    kill: (signal) => void child.kill(signal),
  };
}

/** Runs a program to its end. */
export function runProgram(command: string, args: readonly string[], cwd?: string): Promise<Ended> {
  return beginProgram(command, args, cwd).ended;
}
