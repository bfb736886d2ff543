/**
 * Values on the command line: how options and arguments are read that several commands have.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';

/** A whole number within limits. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** An option that may be given several times. */
export function several(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function qosOption(standard: 0 | 1): Option {
  return new Option('-q, --qos <level>', 'Quality of Service, 0 to 2').argParser(whole(0, 2)).default(standard);
}

/** Where the HTTP API is and who asks. */
export function withApi(command: Command): Command {
  return command
    .option('--url <url>', 'address of the HTTP API; else ONEHOP_URL, else http://127.0.0.1:8080')
    .option('--key <key>', 'API key; else ONEHOP_API_KEY, else the file ~/.config/onehop/key. Others of this machine can see an option')
    .option('--json', 'for programs: JSON, a line for each item of a list');
}

/** How much of a list. */
export function withLimit(command: Command): Command {
  return command.option('--limit <number>', 'show so many', whole(1, 1_000_000_000), 100).option('--all', 'show all');
}
