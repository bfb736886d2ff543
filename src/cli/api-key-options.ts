/**
 * The commands of `onehop apikey` and their options; what they do is in `api-key.ts`, which is loaded when one is called.
 */
import { type Command, Option } from 'commander';
import type { ApiKeyOptions } from './api-key.ts';
import { example } from './example.ts';

/** As in `http/role.ts`, from the least to the most. */
const ROLES = ['service', 'viewer', 'operator', 'admin'];

/** Adds them to the program. */
export function apiKeyCommands(root: Command): void {
  const key = root.command('apikey').description('Say who may use the HTTP API by a key.');
  const name = ['<name>', 'name of the key: 1 to 32 small letters and digits'] as const;
  const file = [
    '--file <file>',
    'file of keys that http.apiKeys of the broker names; else ONEHOP_HTTP__API_KEYS, else ./api-keys.json',
  ] as const;
  key.addHelpText('after', example('onehop apikey add backup --role viewer'));

  key
    .command('add')
    .description('Make a key and print it, once. A broker that runs takes it within a second.')
    .argument(...name)
    .addOption(
      new Option(
        '--role <role>',
        'service: messages only; viewer: sees everything but secrets; operator: changes what runs; admin: changes who may do what',
      )
        .choices(ROLES)
        .default('viewer'),
    )
    .option('--username <name>', 'by which statements judge what it publishes; api-key-NAME otherwise')
    .option('--for <time>', 'how long it counts, such as 30d; for ever otherwise')
    .option('--until <time>', 'until when it counts, such as 2026-12-31T00:00:00Z')
    .option('--remark <text>', 'for people')
    .option(...file)
    .option('--json', 'as JSON')
    .addHelpText('after', example('onehop apikey add backup --role viewer --for 90d'))
    .action(async (id: string, options: ApiKeyOptions) => (await import('./api-key.ts')).addKey(id, options));

  key
    .command('list')
    .description('Say which keys there are. Secrets are not shown.')
    .option(...file)
    .option('--json', 'for programs: a line of JSON for each key')
    .addHelpText('after', example('onehop apikey list'))
    .action(async (options: ApiKeyOptions) => (await import('./api-key.ts')).listKeys(options));

  key
    .command('remove')
    .description('Take a key away. A broker that runs refuses it within a second.')
    .argument(...name)
    .option(...file)
    .addHelpText('after', example('onehop apikey remove backup'))
    .action(async (id: string, options: ApiKeyOptions) => (await import('./api-key.ts')).removeKey(id, options));
}
