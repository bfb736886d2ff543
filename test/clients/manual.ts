/**
 * The examples of docs/p2p.md as the reader sees them, made to run against a broker of a test.
 *
 * A code block that opens with a comment of one word, such as `# send.py`, is the file of that name; other shell blocks are commands. Invariant: nothing is
 * changed but the port.
 */
import { readFileSync } from 'node:fs';

export class Manual {
  private readonly blocks: readonly string[];
  private readonly port: number;

  /** @param port of the broker that the examples shall use */
  constructor(port: number) {
    this.port = port;
    const page = readFileSync(new URL('../../../docs/p2p.md', import.meta.url), 'utf8');
    this.blocks = [...page.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
  }

  /** The example with this file name. */
  file(name: string): string {
    const block = this.blocks.find((text) => /^(#|\/\/) (\S+)\n/.exec(text)?.[2] === name);
    if (block === undefined) throw new Error(`docs/p2p.md has no example ${name}`);
    return this.here(block);
  }

  /** The command lines that begin with this program's name, as lists of arguments without it. */
  commands(program: string): string[][] {
    const lines = this.blocks.filter((text) => text.startsWith(`${program} `)).map((text) => this.here(text).trim().split(' ').slice(1));
    if (lines.length === 0) throw new Error(`docs/p2p.md has no example of ${program}`);
    return lines;
  }

  /** Names of all example files. */
  get files(): string[] {
    return this.blocks.flatMap((text) => /^(?:#|\/\/) (\S+)\n/.exec(text)?.[1] ?? []);
  }

  private here(text: string): string {
    return text
      .replaceAll('localhost:1883', `127.0.0.1:${this.port}`)
      .replaceAll('"localhost", 1883', `"127.0.0.1", ${this.port}`)
      .replaceAll('-p 1883', `-p ${this.port}`);
  }
}
