/**
 * The commands on the HTTP API as the command line knows them; what they do is in files of their own, loaded when one is called.
 */
import { type Command, Option } from 'commander';
import type { AlarmsOptions } from './alarms.ts';
import type { ApiOptions } from './api-client.ts';
import { qosOption, several, whole, withApi, withLimit } from './arguments.ts';
import type { AddAuthenticatorOptions } from './authenticators.ts';
import type { KickOptions, ListOptions } from './clients.ts';
import { example } from './example.ts';
import type { PublishOptions } from './publish.ts';
import type { RawOptions } from './raw-request.ts';
import type { AddOptions, SubsOptions } from './subs.ts';
import type { TopOptions } from './top.ts';
import type { TraceOptions } from './trace.ts';

type Done = (exitCode: number) => void;

export function apiCommands(root: Command, done: Done): void {
  clientCommands(root, done);
  subscriptionCommands(root);
  publishCommand(root);
  watchCommands(root);
  alarmCommands(root);
  authenticatorCommands(root);

  withApi(root.command('api'))
    .description('Send any request to the HTTP API, and print what it answers.')
    .argument('<method>', 'GET, POST, PUT, PATCH or DELETE')
    .argument('<path>', 'such as /api/v1/clients?limit=5; without a slash at its beginning it is below /api/v1/')
    .option('-d, --data <body>', 'body; @file reads it from a file, @- from standard input')
    .option('-H, --header <name: value>', 'header; may be repeated', several)
    .option('-i, --include', 'also print status and headers, to standard error')
    .addHelpText('after', example("onehop api GET 'clients?limit=5'"))
    .action(async (method: string, path: string, options: RawOptions) =>
      done(await (await import('./raw-request.ts')).rawRequest(method, path, options)),
    );
}

function clientCommands(root: Command, done: Done): void {
  const id = ['<clientId>', 'Client Identifier'] as const;
  const clients = root.command('clients').description('See who is connected, and who has a session.');
  clients.addHelpText('after', example('onehop clients --prefix pump- --state connected'));

  withApi(withLimit(clients.command('list', { isDefault: true })))
    .description('List clients; what "onehop clients" does.')
    .option('--prefix <text>', 'those whose Client Identifier begins with this')
    .option('--contains <text>', 'those whose Client Identifier has this anywhere')
    .addOption(new Option('--state <state>', 'connected or disconnected').choices(['connected', 'disconnected']))
    .option('--username <name>', 'those of this user')
    .option('--address <address>', 'those of this address')
    .addHelpText('after', example('onehop clients list --prefix pump- --state connected'))
    .action(async (options: ListOptions) => (await import('./clients.ts')).listClients(options));

  withApi(clients.command('show'))
    .description('Show one client: its connection, session and subscriptions.')
    .argument(...id)
    .addHelpText('after', example('onehop clients show pump-7'))
    .action(async (clientId: string, options: ApiOptions) => (await import('./clients.ts')).showClient(clientId, options));

  for (const [parent, line] of [
    [clients, 'onehop clients kick pump-7'],
    [root, 'onehop kick pump-7'],
  ] as const)
    withApi(parent.command('kick'))
      .description('Disconnect clients.')
      .argument('<clientId...>', 'Client Identifiers')
      .option('--session', 'end their sessions, too: subscriptions and queued messages are gone')
      .option('--no-will', 'do not publish their Wills')
      .addHelpText('after', example(line))
      .action(async (clientIds: string[], options: KickOptions) => done(await (await import('./clients.ts')).kick(clientIds, options)));
}

function subscriptionCommands(root: Command): void {
  const id = ['<clientId>', 'Client Identifier'] as const;
  const filter = ['<filter>', 'Topic Filter'] as const;
  const subs = root.command('subs').description('See who subscribes to what; subscribe clients.');
  subs.addHelpText('after', example('onehop subs --topic plant/1/temp'));

  withApi(withLimit(subs.command('list', { isDefault: true })))
    .description('List subscriptions; what "onehop subs" does.')
    .option('--filter <filter>', 'those with this Topic Filter')
    .option('--topic <topic>', 'those that get what is published to this topic')
    .option('--client <id>', 'those of this client')
    .option('--group <name>', 'those of this Shared Subscription group')
    .addHelpText('after', example('onehop subs list --topic plant/1/temp'))
    .action(async (options: SubsOptions) => (await import('./subs.ts')).listSubscriptions(options));

  withApi(subs.command('add'))
    .description('Subscribe a client; it gets messages at once.')
    .argument(...id)
    .argument(...filter)
    .addOption(qosOption(1))
    .addHelpText('after', example("onehop subs add pump-7 'plant/1/#'"))
    .action(async (clientId: string, topicFilter: string, options: AddOptions) =>
      (await import('./subs.ts')).addSubscription(clientId, topicFilter, options),
    );

  withApi(subs.command('remove'))
    .description('End a subscription of a client.')
    .argument(...id)
    .argument(...filter)
    .addHelpText('after', example("onehop subs remove pump-7 'plant/1/#'"))
    .action(async (clientId: string, topicFilter: string, options: ApiOptions) =>
      (await import('./subs.ts')).removeSubscription(clientId, topicFilter, options),
    );
}

function publishCommand(root: Command): void {
  withApi(root.command('publish'))
    .description('Publish one message over the HTTP API, with any payload; "onehop pub" does it over MQTT.')
    .requiredOption('-t, --topic <topic>', 'Topic Name')
    .option('-m, --message <text>', 'payload')
    .option('-f, --file <file>', 'payload from a file; - is standard input')
    .addOption(qosOption(1))
    .option('-r, --retain', 'have the broker keep it as the retained message of the topic')
    .option('--expiry <seconds>', 'Message Expiry Interval', whole(0, 4_294_967_295))
    .option('--content-type <type>', 'Content Type')
    .option('--response-topic <topic>', 'Response Topic')
    .option('--correlation <text>', 'Correlation Data')
    .option('--property <key=value>', 'User Property; may be repeated', several)
    .addHelpText('after', example('onehop publish -t plant/1/config -f config.json --retain'))
    .action(async (options: PublishOptions) => (await import('./publish.ts')).publish(options));
}

function watchCommands(root: Command): void {
  const traces = root.command('trace').description('Follow messages through the broker; see and end what is followed.');
  traces.addHelpText('after', example('onehop trace --client pump-7', '"onehop trace follow --help" shows the options'));

  withApi(traces.command('follow', { isDefault: true }))
    .description('Follow messages: published, routed, delivered, acknowledged, dropped and why; what "onehop trace" does. Ctrl-C ends it.')
    .option('--client <id>', 'messages from and to this client')
    .option('--filter <filter>', 'messages whose topic matches')
    .option('--message <id>', 'the message with this ID, 32 hexadecimal digits')
    .option('--sample <number>', 'one message in so many; 1: every message', whole(1, 1_000_000))
    .option('--seconds <number>', 'end after this time', whole(1, 3_600), 600)
    .option('--keep', 'leave what was seen in the broker, and in its history where it has one')
    .addHelpText('after', example('onehop trace --client pump-7'))
    .action(async (options: TraceOptions) => (await import('./trace.ts')).trace(options));

  withApi(traces.command('list'))
    .description('List the traces that run, and the last that have ended.')
    .addHelpText('after', example('onehop trace list'))
    .action(async (options: ApiOptions) => (await import('./trace.ts')).listTraces(options));

  withApi(traces.command('end'))
    .description('End a trace, whoever has begun it. What it has seen can still be read.')
    .argument('<id>', 'ID of the trace')
    .addHelpText('after', example('onehop trace end 5f3a9c01'))
    .action(async (id: string, options: ApiOptions) => (await import('./trace.ts')).endTrace(id, options));

  withApi(root.command('top'))
    .description('Watch the broker: rates, connections, load of the shards, slow clients, alarms. q ends it.')
    .option('--interval <seconds>', 'time between two looks', whole(1, 3_600), 2)
    .option('--once', 'look once')
    .addHelpText('after', example('onehop top --interval 5'))
    .action(async (options: TopOptions) => (await import('./top.ts')).top(options));
}

function alarmCommands(root: Command): void {
  const alarms = root.command('alarms').description('See what is wrong with the broker, or was.');
  alarms.addHelpText('after', example('onehop alarms --state active'));

  withApi(withLimit(alarms.command('list', { isDefault: true })))
    .description('List alarms; what "onehop alarms" does.')
    .addOption(new Option('--state <state>', 'active or cleared').choices(['active', 'cleared']))
    .addHelpText('after', example('onehop alarms list --state active'))
    .action(async (options: AlarmsOptions) => (await import('./alarms.ts')).listAlarms(options));

  withApi(alarms.command('acknowledge'))
    .description('Say that an alarm has been seen.')
    .argument('<id>', 'ID of the alarm')
    .addHelpText('after', example('onehop alarms acknowledge mgq1x2-1'))
    .action(async (id: string, options: ApiOptions) => (await import('./alarms.ts')).acknowledgeAlarm(id, options));
}

function authenticatorCommands(root: Command): void {
  const called = ['<name>', 'name of an authenticator of the file'] as const;
  const authenticators = root
    .command('authenticators')
    .description("See who judges logins; add and remove those of the broker's file (auth.file).");
  authenticators.addHelpText('after', example('onehop authenticators'));

  withApi(authenticators.command('list', { isDefault: true }))
    .description('List authenticators in their order; what "onehop authenticators" does.')
    .addHelpText('after', example('onehop authenticators list'))
    .action(async (options: ApiOptions) => (await import('./authenticators.ts')).listAuthenticators(options));

  withApi(authenticators.command('add'))
    .description('Add an authenticator of type jwt or http.')
    .argument(...called)
    .requiredOption('-f, --file <file>', 'JSON with its keys, as the configuration has them (docs/authentication.md); - is standard input')
    .option('--place <number>', 'its place among those of the file, from 0', whole(0, 1000))
    .addHelpText('after', example('onehop authenticators add tokens -f tokens.json'))
    .action(async (name: string, options: AddAuthenticatorOptions) =>
      (await import('./authenticators.ts')).addAuthenticator(name, options),
    );

  for (const isActive of [true, false]) {
    const word = isActive ? 'on' : 'off';
    withApi(authenticators.command(word))
      .description(isActive ? 'Switch an authenticator on.' : 'Switch an authenticator off: it is not asked, and keeps what it knows.')
      .argument(...called)
      .addHelpText('after', example(`onehop authenticators ${word} tokens`))
      .action(async (name: string, options: ApiOptions) =>
        (await import('./authenticators.ts')).switchAuthenticator(name, isActive, options),
      );
  }

  withApi(authenticators.command('remove'))
    .description('Remove an authenticator. Clients that it has let in stay connected.')
    .argument(...called)
    .addHelpText('after', example('onehop authenticators remove tokens'))
    .action(async (name: string, options: ApiOptions) => (await import('./authenticators.ts')).removeAuthenticator(name, options));
}
