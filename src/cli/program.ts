/**
 * The commands of `onehop` as the command line knows them: names, options, help. What they do is in files of their own, loaded when one is called, so that `start` does not wait for
 * the client library. Nothing here runs anything.
 */

import { Argument, Command, CommanderError, Option } from 'commander';
import { apiCommands } from './api-commands.ts';
import { apiKeyCommands } from './api-key-options.ts';
import { qosOption, several, whole, withApi } from './arguments.ts';
import { blockCommands } from './block-options.ts';
import { certificateCommands } from './certificate-command.ts';
import { choicesFor, completionScript, SHELLS } from './completion.ts';
import { deviceCommands } from './device-options.ts';
import { example } from './example.ts';
import { print, standardOutput } from './output.ts';
import type { P2pOptions } from './p2p.ts';
import type { PubOptions } from './pub.ts';
import type { StartOptions } from './start.ts';
import type { InspectOptions } from './store.ts';
import type { SubOptions } from './sub.ts';
import type { UserOptions } from './user.ts';
import { versionLine } from './version.ts';

function withConnection(command: Command): Command {
  return command
    .option('--host <host>', 'address of the broker', '127.0.0.1')
    .option('--port <port>', 'port of the broker', whole(1, 65_535), 1883)
    .option('--username <name>', 'User Name')
    .option('--password <password>', 'Password')
    .option('--client-id <id>', 'Client Identifier; a random one otherwise')
    .addOption(new Option('--mqtt-version <version>', '5, 4 (3.1.1) or 3 (3.1)').choices(['5', '4', '3']).default('5'));
}

const propertyOption = ['--property <key=value>', 'User Property of the message; may be repeated'] as const;

function userCommands(root: Command): void {
  const user = root.command('user').description('Say who may connect by name and password.');
  const name = ['<name>', 'username'] as const;
  const file = ['--file <file>', 'file of users; else ONEHOP_USERS_FILE, else ./users.json'] as const;
  const generate = ['--generate', 'make a password and print it once; otherwise it is asked for, or read from standard input'] as const;
  const scram = ['--scram', 'let the user log in by SCRAM-SHA-256, too: a verifier of the password is written beside its hash'] as const;
  user.addHelpText('after', example('onehop user add pump-7 --attribute group=plant-1'));

  user
    .command('add')
    .description('Add a user.')
    .argument(...name)
    .option(...file)
    .option(...generate)
    .option(...scram)
    .option('--attribute <name=value>', 'what rules may ask for; may be repeated', several)
    .option('--superuser', 'may do everything')
    .option('--remark <text>', 'for people')
    .addHelpText('after', example('onehop user add pump-7 --generate'))
    .action(async (username: string, options: UserOptions) => {
      const { addUser } = await import('./user.ts');
      await addUser(username, options);
    });

  user
    .command('passwd')
    .description('Give a user another password. Its clients are disconnected.')
    .argument(...name)
    .option(...file)
    .option(...generate)
    .option(...scram)
    .option('--no-scram', 'take the verifier away; without either, who has one gets a new one')
    .addHelpText('after', example('onehop user passwd pump-7'))
    .action(async (username: string, options: UserOptions) => {
      const { changePassword } = await import('./user.ts');
      await changePassword(username, options);
    });

  user
    .command('list')
    .description('Say who is in the file.')
    .option(...file)
    .option('--json', 'as JSON')
    .addHelpText('after', example('onehop user list'))
    .action(async (options: UserOptions) => {
      const { listUsers } = await import('./user.ts');
      listUsers(options);
    });

  user
    .command('remove')
    .description('Take a user away. Its clients are disconnected.')
    .argument(...name)
    .option(...file)
    .addHelpText('after', example('onehop user remove pump-7'))
    .action(async (username: string, options: UserOptions) => {
      const { removeUser } = await import('./user.ts');
      removeUser(username, options);
    });
}

/** The whole tree. @param done takes the exit code of a command that has one of its own */
export function program(done: (exitCode: number) => void): Command {
  const root = new Command('onehop');
  root
    .description('An MQTT broker for large fleets.')
    .exitOverride()
    .configureOutput({ writeOut: (text) => void standardOutput().write(text) })
    .showHelpAfterError('(--help shows how to use it)')
    // Behind a command it would be an option or a value of that one.
    .enablePositionalOptions()
    .option('--version', 'print the version')
    .on('option:version', () => {
      print(versionLine());
      throw new CommanderError(0, 'commander.version', '');
    })
    .addHelpText('after', example('onehop start', 'listens on 127.0.0.1:1883'));

  root
    .command('start')
    .description('Run the broker until it is stopped.')
    .option('-c, --config <file>', 'configuration file (YAML)')
    .option('--shards <number>', 'worker threads; auto: one for each processor')
    .option('--set <key=value>', 'override one key of the configuration; may be repeated', several)
    .addHelpText('after', example('onehop start --shards 2 --set limits.packetSize=2MiB'))
    .action(async (options: StartOptions) => {
      const { start } = await import('./start.ts');
      done(await start(options));
    });

  root
    .command('check-config')
    .description('Say whether a configuration file is right.')
    .argument('<file>', 'configuration file (YAML)')
    .option('--set <key=value>', 'override one key of the configuration; may be repeated', several)
    .addHelpText('after', example('onehop check-config onehop.yaml'))
    .action(async (file: string, options: { set?: string[] }) => {
      const { checkConfig } = await import('./check-config.ts');
      await checkConfig(file, options.set);
    });

  root
    .command('version')
    .description('Print the version.')
    .addHelpText('after', example('onehop version'))
    .action(() => print(versionLine()));

  withConnection(root.command('pub'))
    .description('Publish one message.')
    .requiredOption('-t, --topic <topic>', 'Topic Name')
    .requiredOption('-m, --message <text>', 'payload')
    .addOption(qosOption(0))
    .option('-r, --retain', 'have the broker keep it as the retained message of the topic')
    .option(...propertyOption, several)
    .addHelpText('after', example("onehop pub -t demo/hello -m 'good morning' -q 1"))
    .action(async (options: PubOptions) => {
      const { pub } = await import('./pub.ts');
      await pub(options);
    });

  withConnection(root.command('sub'))
    .description('Print messages: those of the filters, and those addressed to the client ID itself.')
    .option('-t, --topic <filter>', 'Topic Filter; may be repeated', several)
    .addOption(qosOption(0))
    .option('-n, --count <number>', 'end after so many messages', whole(1, Number.MAX_SAFE_INTEGER))
    .option('-v, --verbose', 'print the topic before the payload')
    .option('--session <seconds>', 'keep the session so long after leaving, and take it up again', whole(0, 4_294_967_295))
    .addHelpText('after', example("onehop sub -t 'demo/#' -v"))
    .addHelpText('after', example('onehop sub --client-id dev-1', 'waits for "onehop p2p -c dev-1 …"'))
    .action(async (options: SubOptions) => {
      const { sub } = await import('./sub.ts');
      await sub(options);
    });

  withApi(withConnection(root.command('p2p')))
    .description('Send a message to a client by its ID, and say what became of it.')
    .requiredOption('-c, --client <id>', 'Client Identifier of the target; may be repeated', several)
    .requiredOption('-m, --message <text>', 'payload')
    .option('--first <level>', 'first level of the topic: {first}/p2p/{id}', 'cmd')
    .addOption(qosOption(1))
    .option('--report', 'print what happened at each target; exit code 1 when one did not take the message')
    .option('--receipt', 'wait until each target has acknowledged; exit code 1 when one does not')
    .option('--confirm', 'send over the HTTP API, and wait until each target has acknowledged; exit code 1 when one does not')
    .option('--if-online', 'with --confirm: only to targets that are connected')
    .option('--timeout <seconds>', 'longest wait for receipts', whole(1, 86_400), 10)
    .option(...propertyOption, several)
    .addHelpText('after', example('onehop p2p -c dev-1 -m reboot --report'))
    .addHelpText('after', example('onehop p2p -c dev-1 -m reboot --confirm', 'over the HTTP API'))
    .action(async (options: P2pOptions) => {
      const { p2p } = await import('./p2p.ts');
      done(await p2p(options));
    });

  apiCommands(root, done);
  addStore(root, done);
  completionCommands(root);
  return root;
}

function addStore(root: Command, done: (exitCode: number) => void): void {
  userCommands(root);
  certificateCommands(root);
  deviceCommands(root);
  blockCommands(root);
  apiKeyCommands(root);

  const store = root.command('store').description('Look into a store, check it, copy it, carry it elsewhere.');
  const directory = ['<dir>', 'directory of the store (store.path)'] as const;
  store.addHelpText('after', example('onehop store inspect onehop-data'));

  store
    .command('inspect')
    .description('Say what is in a store. A broker may be using it.')
    .argument(...directory)
    .option('--json', 'as JSON')
    .option('--session <id>', 'one session or mailbox, by its Client Identifier')
    .option('--payloads', 'also the messages of that session, with their payloads')
    .addHelpText('after', example('onehop store inspect onehop-data --session dev-1'))
    .action(async (path: string, options: InspectOptions) => {
      const { inspect } = await import('./store.ts');
      await inspect(path, options);
    });

  store
    .command('verify')
    .description('Read everything in a store and name every damage; exit code 1 when there is one. A broker may be using it.')
    .argument(...directory)
    .addHelpText('after', example('onehop store verify onehop-data'))
    .action(async (path: string) => {
      const { verify } = await import('./store.ts');
      done(await verify(path));
    });

  store
    .command('export')
    .description('Write a store as lines of JSON, payloads included. A broker may be using it.')
    .argument(...directory)
    .option('-o, --output <file>', 'file to write; standard output otherwise')
    .addHelpText('after', example('onehop store export onehop-data -o onehop.jsonl'))
    .action(async (path: string, options: { output?: string }) => {
      const { exportTo } = await import('./store.ts');
      await exportTo(path, options);
    });

  store
    .command('import')
    .description('Make a new store of the lines that export has written.')
    .argument('<dir>', 'directory for the store; there must be none in it')
    .argument('[file]', 'file to read; standard input otherwise')
    .addHelpText('after', example('onehop store import new-data onehop.jsonl'))
    .action(async (path: string, file: string | undefined) => {
      const { importFrom } = await import('./store.ts');
      await importFrom(path, file);
    });

  store
    .command('compact')
    .description('Rewrite a store that no broker uses, so that it holds only what is still needed.')
    .argument(...directory)
    .addHelpText(
      'after',
      example('onehop store compact onehop-data', `a running broker does it itself: onehop api POST store/compact --data '{}'`),
    )
    .action(async (path: string) => {
      const { compact } = await import('./store.ts');
      await compact(path);
    });

  store
    .command('backup')
    .description('Copy one moment of a store, then read the copy. A broker may be using the store.')
    .argument(...directory)
    .argument('<target>', 'directory for the copy, new or empty')
    .addHelpText('after', example('onehop store backup onehop-data backup', 'then "onehop start --set store.path=backup" opens it'))
    .action(async (path: string, target: string) => {
      const { backup } = await import('./store.ts');
      await backup(path, target);
    });
}

function completionCommands(root: Command): void {
  root
    .command('completion')
    .description('Print a script that completes commands and options at Tab.')
    .addArgument(new Argument('<shell>', 'for which shell').choices(SHELLS))
    .addHelpText('after', example('source <(onehop completion bash)', 'for this shell; docs/command-line.md says how to keep it'))
    .action((shell: string) => void standardOutput().write(completionScript(shell)));

  root
    .command('complete', { hidden: true })
    .argument('[words...]')
    .option('--plain', 'without descriptions')
    .action((words: string[], { plain }: { readonly plain?: boolean }) => {
      for (const { value, description } of choicesFor(root, words)) print(plain === true ? value : `${value}\t${description}`);
    });
}
