/**
 * The commands `onehop block …` as the command line knows them; what they do is in `block.ts`, which is loaded when one is called.
 */
import type { Command } from 'commander';
import type { BlockOptions } from './block.ts';
import { example } from './example.ts';

function several(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function blockCommands(root: Command): void {
  const block = root.command('block').description('Say who may not connect, whatever they can prove.');
  const name = ['<name>', 'name of the rule: A-Z a-z 0-9 and -'] as const;
  const file = ['--file <file>', 'file of rules (auth.blocked); else ONEHOP_BLOCKED_FILE, else ./blocked.json'] as const;
  block.addHelpText('after', example("onehop block add stolen --client-id 'pump-*' --for 2h"));

  block
    .command('add')
    .description('Add a rule. Clients for which it holds are disconnected.')
    .argument(...name)
    .option('--client-id <pattern>', 'Client Identifiers; * is any characters, ? is one')
    .option('--username <pattern>', 'usernames')
    .option('--address <pattern>', 'addresses, or a network such as 10.0.0.0/8')
    .option('--except <pattern>', 'who may connect all the same; may be repeated', several)
    .option('--for <time>', 'how long the rule holds, such as 2h; for ever otherwise')
    .option('--until <time>', 'until when it holds, such as 2026-12-31T00:00:00Z')
    .option('--remark <text>', 'for people')
    .option(...file)
    .addHelpText('after', example("onehop block add stolen --client-id 'pump-*' --except pump-1 --for 2h"))
    .action(async (rule: string, options: BlockOptions) => (await import('./block.ts')).addBlock(rule, options));

  block
    .command('list')
    .description('Say which rules there are.')
    .option(...file)
    .option('--json', 'as JSON')
    .addHelpText('after', example('onehop block list'))
    .action(async (options: BlockOptions) => (await import('./block.ts')).listBlocks(options));

  block
    .command('remove')
    .description('Take a rule away.')
    .argument(...name)
    .option(...file)
    .addHelpText('after', example('onehop block remove stolen'))
    .action(async (rule: string, options: BlockOptions) => (await import('./block.ts')).removeBlock(rule, options));
}
