/**
 * What the benchmark measures, and what it aims for: the table of workloads and the table of targets.
 *
 * `args` go to the load generator as they are; `quick` replaces some of them in the short form. Adding a workload is adding a row.
 */

/** Where a workload runs that moves messages through memory only. */
const inMemory = ['onehop-1', 'onehop-2', 'mosquitto', 'aedes'];
const withoutAedes = ['onehop-1', 'onehop-2', 'mosquitto'];

/** Where a workload runs whose messages are to outlive the broker. */
const durable = ['onehop-1', 'onehop-1-os', 'onehop-1-none', 'onehop-1-off', 'onehop-2', 'mosquitto-persistent'];

/** Every door of both brokers, plain TCP first: the others are compared with it. */
const doors = ['onehop-1', 'onehop-tls', 'onehop-ws', 'onehop-wss', 'onehop-quic', 'mosquitto', 'mosquitto-tls', 'mosquitto-ws'];

/** As many messages may wait as a workload can publish: the broker's speed shall bound it, not a limit. mosquitto is told the same for all workloads. */
const longQueues = { onehop: ['limits.queueMessages=100000000', 'limits.queueBytes=8GiB', 'limits.queuedBytesTotal=8GiB'] };

/**
 * The lower-case `name` is what `--only` takes. `metric` is the field of the result that plots and targets compare; a target may name another one.
 * `brokers` are those that it runs on, `quickBrokers` those in the short form (default: the same). `settings` are for the brokers, by family. `rounds`
 * is the largest number of them, `roundsAtLeast` the smallest. `note` stands below the title in the report. `argsOf` replaces some of `args` for a broker. `onlyQuick`: in the short
 * form alone; `notQuick`: not in it, unless asked for by name.
 */
const memoryWorkloads = [
  {
    name: 'fan-in-1000',
    title: 'Fan-in, 1,000 publishers to 1 subscriber, one message in flight each, QoS 0',
    metric: 'cpuMicroseconds',
    args: { workload: 'fan-in', publishers: 1000, window: 1 },
    quick: { publishers: 100 },
  },
  {
    name: 'fan-in-100x10',
    title: 'Fan-in, 100 publishers to 1 subscriber, 10 messages in flight each, QoS 0',
    metric: 'cpuMicroseconds',
    args: { workload: 'fan-in', publishers: 100, window: 10 },
    quick: { publishers: 20 },
  },
  ...[0, 1, 2].map((qos) => ({
    name: `p2p-qos${qos}`,
    title: `P2P, each of 1,000 clients to any other, one message in flight each, QoS ${qos}`,
    metric: 'cpuMicroseconds',
    args: { workload: 'p2p', clients: 1000, window: 1, qos },
    quick: { clients: 100 },
  })),
  ...[0, 1].map((qos) => ({
    name: `fan-out-qos${qos}`,
    title: `Fan-out, 1 publisher to 1,000 subscribers, one message in flight, QoS ${qos}`,
    metric: 'cpuMicroseconds',
    args: { workload: 'fan-out', publishers: 1, receivers: 1000, window: 1, qos },
    quick: { receivers: 100 },
  })),
  ...[0, 1].map((qos) => ({
    name: `shared-qos${qos}`,
    title: `Shared subscription, 100 publishers to a group of 8, 10 messages in flight each, QoS ${qos}`,
    metric: 'cpuMicroseconds',
    args: { workload: 'shared', publishers: 100, receivers: 8, window: 10, qos },
    quick: { publishers: 20 },
    brokers: withoutAedes, // it has no shared subscriptions
  })),
  {
    name: 'p2p-rate',
    title: 'P2P among 1,000 clients at a fixed 10,000 messages per second (open loop), QoS 0',
    metric: 'cpuMicroseconds',
    isOpenLoop: true,
    args: { workload: 'p2p', clients: 1000, rate: 10_000 },
    quick: { clients: 100, rate: 2000 },
  },
  {
    name: 'p2p-mqtt5',
    title: 'P2P among 100 clients, MQTT 5, QoS 2',
    metric: 'cpuMicroseconds',
    onlyQuick: true, // proves that the generator's MQTT 5 side works
    args: { workload: 'p2p', clients: 100, qos: 2, protocol: 5 },
    brokers: withoutAedes,
  },
  {
    name: 'connect',
    title: 'Connect storm: connect, CONNACK, DISCONNECT, again; 64 at once',
    metric: 'cpuMicroseconds',
    args: { workload: 'connect', parallel: 64 },
    quick: {},
  },
  {
    name: 'idle',
    title: '15,000 idle connections',
    metric: 'bytesPerConnection',
    freshBroker: true, // memory that an earlier round has left would hide what connections cost
    args: { workload: 'idle', clients: 15_000, seconds: 1 },
    quick: { clients: 500, settle: 0.5 },
  },
];

/** Short, because each door has all of them: the whole group takes about twelve minutes. */
const doorTimes = { warmup: 1, seconds: 1.5 };

/** The main workloads again, through every door of the brokers. */
const doorWorkloads = [
  {
    name: 'doors-fan-in-1000',
    title: 'Doors: fan-in, 1,000 publishers to 1 subscriber, one message in flight each, QoS 0',
    metric: 'cpuMicroseconds',
    notQuick: true,
    args: { ...doorTimes, workload: 'fan-in', publishers: 1000, window: 1 },
    quick: { publishers: 100 },
  },
  {
    name: 'doors-fan-in-100x10',
    title: 'Doors: fan-in, 100 publishers to 1 subscriber, 10 messages in flight each, QoS 0',
    metric: 'cpuMicroseconds',
    notQuick: true,
    args: { ...doorTimes, workload: 'fan-in', publishers: 100, window: 10 },
    quick: { publishers: 20 },
  },
  ...[0, 1].map((qos) => ({
    name: `doors-p2p-qos${qos}`,
    title: `Doors: P2P, each of 1,000 clients to any other, one message in flight each, QoS ${qos}`,
    metric: 'cpuMicroseconds',
    notQuick: qos === 0,
    args: { ...doorTimes, workload: 'p2p', clients: 1000, window: 1, qos },
    quick: { clients: 100 },
  })),
  {
    name: 'doors-fan-out-qos0',
    title: 'Doors: fan-out, 1 publisher to 1,000 subscribers, one message in flight, QoS 0',
    metric: 'cpuMicroseconds',
    notQuick: true,
    args: { ...doorTimes, workload: 'fan-out', publishers: 1, receivers: 1000, window: 1 },
    quick: { receivers: 100 },
  },
  {
    name: 'doors-echo',
    title: 'Doors: echo, each of 1,000 clients to itself, one message in flight each, QoS 0',
    metric: 'cpuMicroseconds',
    notQuick: true,
    args: { ...doorTimes, workload: 'p2p', targets: 'self', clients: 1000, window: 1 },
    quick: { clients: 100 },
    brokers: doors.filter((name) => name.startsWith('onehop')),
  },
  {
    name: 'doors-connect',
    title: 'Doors: full handshakes. Connect, CONNACK, DISCONNECT, again; 64 at once',
    metric: 'cpuMicroseconds',
    args: { ...doorTimes, workload: 'connect', parallel: 64, handshakes: 'full' },
    quick: {},
  },
  {
    name: 'doors-resume',
    title: 'Doors: resumed handshakes. Connect, CONNACK, DISCONNECT, again with the ticket of the last time; 64 at once',
    metric: 'cpuMicroseconds',
    args: { ...doorTimes, workload: 'connect', parallel: 64, handshakes: 'resumed' },
    quick: {},
    brokers: ['onehop-tls', 'onehop-quic', 'mosquitto-tls'],
  },
  {
    name: 'doors-idle',
    title: 'Doors: idle connections, 5,000 (QUIC: 2,000)',
    metric: 'bytesPerConnection',
    freshBroker: true,
    rounds: 2,
    args: { workload: 'idle', clients: 5000, seconds: 1, settle: 2 },
    argsOf: { 'onehop-quic': { clients: 2000 } },
    quick: { clients: 200, settle: 0.3 },
    quickBrokers: ['onehop-tls', 'onehop-ws', 'onehop-quic'],
  },
];

/** Workloads whose messages all go through all doors. */
const doorMessages = ['doors-fan-in-1000', 'doors-fan-in-100x10', 'doors-p2p-qos0', 'doors-p2p-qos1', 'doors-fan-out-qos0'];

/** Those whose messages are to outlive the broker. */
const durableWorkloads = [
  {
    name: 'durable-online',
    title: 'Durable, online: P2P among 1,000 clients with kept sessions, one message in flight each, QoS 1',
    metric: 'perSecond',
    args: { workload: 'p2p', session: 'kept', clients: 1000, window: 1, qos: 1 },
    quick: { clients: 100 },
    quickBrokers: ['onehop-1', 'onehop-1-none', 'onehop-1-off', 'onehop-2', 'mosquitto-persistent'],
  },
  {
    name: 'durable-offline',
    title: 'Durable, offline: 1,000 publishers to 1,000 kept sessions whose clients are away, one message in flight each, QoS 1',
    note: 'A message counts when it is acknowledged, and latency runs until PUBACK. Afterwards the clients come back, and every acknowledged message must arrive.',
    metric: 'perSecond',
    args: { workload: 'offline', publishers: 1000, receivers: 1000, window: 1, qos: 1, drain: 60 },
    quick: { publishers: 100, receivers: 100, drain: 20 },
    quickBrokers: ['onehop-1', 'onehop-1-os', 'mosquitto-persistent'],
  },
  {
    name: 'durable-mqtt5',
    title: 'Durable, offline: 100 publishers to 100 kept sessions, MQTT 5, QoS 1',
    metric: 'perSecond',
    onlyQuick: true, // proves that the generator's MQTT 5 side works
    args: { workload: 'offline', publishers: 100, receivers: 100, window: 1, qos: 1, protocol: 5 },
    quick: { drain: 20 },
    brokers: ['onehop-1', 'mosquitto-persistent'],
  },
  {
    name: 'durable-latency',
    title:
      'Durable, commit latency: time to PUBACK, 1 publisher at a fixed 200 messages per second (open loop) to a client that is away, QoS 1',
    note: 'The publisher is told that its message is safe: with fsync after one wait for the disk, because nobody shares it.',
    rounds: 2, // its rate is fixed, so it varies little
    args: { workload: 'offline', publishers: 1, receivers: 1, rate: 200, qos: 1 },
    quick: {},
    brokers: ['onehop-1', 'onehop-1-none', 'mosquitto-persistent'],
    quickBrokers: ['onehop-1', 'mosquitto-persistent'],
  },
  {
    name: 'durable-hold',
    title: 'Durable, recovery: 1,000,000 messages wait for one client that is away; the broker ends and starts again',
    note: 'onehop is killed (SIGKILL). mosquitto is stopped (SIGTERM), because it saves everything only then. Afterwards the client takes all messages; each must be there, once and in order.',
    metric: 'bytesPerMessage',
    isHold: true,
    rounds: 2, // they are long
    args: { publishers: 100, receivers: 1, window: 100, qos: 1, messages: 1_000_000, drain: 120 },
    quick: { publishers: 20, messages: 20_000, settle: 0.3, drain: 20 },
    brokers: ['onehop-1', 'onehop-2', 'mosquitto-persistent'],
    quickBrokers: ['onehop-1', 'mosquitto-persistent'],
  },
];

/** Those that are measured with and without what is asked for each message. */
const askedWorkloads = memoryWorkloads.filter(({ name }) => ['fan-in-1000', 'fan-in-100x10', 'p2p-qos0', 'p2p-qos1'].includes(name));

/** Many short rounds: the differences are small beside what a shared machine does from one second to the next. */
const askedRounds = { isAsked: true, notQuick: true, roundsAtLeast: 7 };
const askedTimes = { warmup: 1, seconds: 2 };

/** What authorization costs for each message. */
const ruleWorkloads = askedWorkloads.map((workload) => ({
  ...workload,
  args: { ...workload.args, ...askedTimes },
  name: `rules-${workload.name}`,
  title: `With tokens and statements: ${workload.title}`,
  ...askedRounds,
}));

/** What quotas cost for each message. */
const quotaWorkloads = askedWorkloads.map((workload) => ({
  ...workload,
  args: { ...workload.args, ...askedTimes },
  name: `quotas-${workload.name}`,
  title: `With quotas: ${workload.title}`,
  ...askedRounds,
}));

/** What it costs for each message that the broker is looked at, and that messages are kept for people to look at. */
const eyeWorkloads = askedWorkloads.map((workload) => ({
  ...workload,
  args: { ...workload.args, ...askedTimes },
  name: `eyes-${workload.name}`,
  title: `With metrics, with history: ${workload.title}`,
  ...askedRounds,
}));

/** Whether lists of much hold up messages. */
const listWorkload = {
  ...memoryWorkloads.find(({ name }) => name === 'p2p-rate'),
  name: 'listed-p2p-rate',
  title: 'P2P among 1,000 clients at a fixed 10,000 messages per second (open loop), QoS 0, beside 100,000 sessions of others',
  note:
    'While messages pass, a program lists all clients over HTTP, 1,000 a page and 20 pages a second, again and again. What that costs the broker counts as its own. In one row another broker ' +
    'lists: what the program and the lists take of the two cores, which all of them share.',
  ...askedRounds,
  roundsAtLeast: 3,
  attempts: 1, // the program that lists is among the other processes
  freshBroker: true, // else the one that is listed would be so while the other is measured
  brokers: ['onehop-1-sessions', 'onehop-1-beside', 'onehop-1-listed'],
};

const httpRequests = {
  'publish-qos0': 'publish a message, QoS 0',
  'publish-qos1': 'publish a message, QoS 1',
  status: 'the status of one of 100 connected clients',
  p2p: 'a message to one of 100 connected clients, QoS 1',
  'p2p-confirmed': 'the same, answered when the client has acknowledged (confirm=true)',
};

/** Requests over HTTP, sent by autocannon. */
const httpWorkloads = Object.entries(httpRequests).map(([request, title]) => ({
  name: `http-${request}`,
  title: `HTTP: ${title}; 50 connections`,
  metric: 'perSecond',
  isHttp: true,
  notQuick: !['publish-qos0', 'p2p-confirmed'].includes(request),
  args: { request, connections: 50 },
  quick: { connections: 10 },
  brokers: ['bare-http', 'onehop-http'],
}));

/** Every row, whole. */
export const workloads = [
  ...memoryWorkloads.map((workload) => ({ brokers: inMemory, ...workload })),
  ...ruleWorkloads.map((workload) => ({ brokers: ['onehop-1', 'onehop-1-rules'], ...workload })),
  ...quotaWorkloads.map((workload) => ({ brokers: ['onehop-1', 'onehop-1-quotas'], ...workload })),
  ...eyeWorkloads.map((workload) => ({ brokers: ['onehop-1', 'onehop-1-watched', 'onehop-1-history'], ...workload })),
  listWorkload,
  ...httpWorkloads,
  ...doorWorkloads.map((workload) => ({ brokers: doors, isDoors: true, ...workload })),
  ...durableWorkloads.map((workload) => ({ brokers: durable, settings: longQueues, isDurable: true, ...workload })),
];

/**
 * Each target is a bound of a value: an upper one (`max`, or `below`, which it must not reach) or a lower one (`min`). The value is a metric of `of`, in
 * the same run divided by that of `to`, or with that of `minus` taken away, or by itself. Of several `workloads` the worst ratio counts.
 */
export const targets = [
  { text: 'fan-in of 1,000 publishers, against mosquitto', workload: 'fan-in-1000', of: 'onehop-1', to: 'mosquitto', max: 0.55 },
  {
    text: 'fan-in of 100 publishers with 10 in flight, against mosquitto',
    workload: 'fan-in-100x10',
    of: 'onehop-1',
    to: 'mosquitto',
    max: 0.15,
  },
  { text: 'P2P QoS 0, against mosquitto', workload: 'p2p-qos0', of: 'onehop-1', to: 'mosquitto', max: 0.7 },
  { text: 'P2P QoS 1, against mosquitto', workload: 'p2p-qos1', of: 'onehop-1', to: 'mosquitto', max: 0.55 },
  { text: 'P2P QoS 0, two shards against one', workload: 'p2p-qos0', of: 'onehop-2', to: 'onehop-1', max: 1.15 },
  { text: 'P2P QoS 1, two shards against one', workload: 'p2p-qos1', of: 'onehop-2', to: 'onehop-1', max: 1.15 },
  {
    text: 'tokens and 100 statements, against an open broker, the worst of four workloads',
    workloads: ruleWorkloads.map(({ name }) => name),
    of: 'onehop-1-rules',
    to: 'onehop-1',
    max: 1.1,
  },
  {
    text: 'quotas that are not reached, against an open broker, the worst of four workloads',
    workloads: quotaWorkloads.map(({ name }) => name),
    of: 'onehop-1-quotas',
    to: 'onehop-1',
    // Eight limits are asked for each message; of a message that costs 0.6 µs that is a tenth.
    max: 1.15,
  },
  {
    text: 'metrics read each second, against a broker without an HTTP listener, the worst of four workloads',
    workloads: eyeWorkloads.map(({ name }) => name),
    of: 'onehop-1-watched',
    to: 'onehop-1',
    max: 1.05,
  },
  {
    text: 'history of every message, against a broker without, the worst of four workloads',
    workloads: eyeWorkloads.map(({ name }) => name),
    of: 'onehop-1-history',
    to: 'onehop-1',
    max: 1.15,
  },
  {
    text: 'P2P at a fixed rate, p99, while 100,000 clients are listed again and again, against lists of another broker on the same machine',
    workload: 'listed-p2p-rate',
    metric: 'p99Milliseconds',
    of: 'onehop-1-listed',
    to: 'onehop-1-beside',
    max: 1.25,
  },
  {
    text: 'HTTP publish QoS 0, requests/s, against a bare uWebSockets.js server',
    workload: 'http-publish-qos0',
    of: 'onehop-http',
    to: 'bare-http',
    min: 0.7,
  },
  {
    text: 'HTTP publish QoS 0, p99, against a bare uWebSockets.js server',
    workload: 'http-publish-qos0',
    metric: 'p99Milliseconds',
    of: 'onehop-http',
    to: 'bare-http',
    max: 2,
  },
  { text: 'memory per idle connection at 15,000', workload: 'idle', of: 'onehop-1', max: 6144, unit: 'bytes' },
  { text: 'start to first accepted connection', workload: 'start', of: 'onehop-1', max: 500, unit: 'ms' },
  { text: 'durable online, messages/s, fsync against none', workload: 'durable-online', of: 'onehop-1', to: 'onehop-1-none', min: 0.6 },
  { text: 'durable offline, messages/s, fsync against none', workload: 'durable-offline', of: 'onehop-1', to: 'onehop-1-none', min: 0.6 },
  ...['none', 'off'].map((variant) => ({
    text: `durable online, CPU per message, fsync less ${variant === 'off' ? 'no store' : variant}`,
    workload: 'durable-online',
    metric: 'cpuMicroseconds',
    of: 'onehop-1',
    minus: `onehop-1-${variant}`,
    max: 1.5,
    unit: 'µs',
  })),
  {
    text: 'recovery of 1,000,000 waiting messages after SIGKILL',
    workload: 'durable-hold',
    metric: 'recoveredPerSecond',
    of: 'onehop-1',
    min: 500_000,
    unit: 'messages/s',
  },
  { text: 'memory per waiting message of 64 bytes', workload: 'durable-hold', of: 'onehop-1', max: 150, unit: 'bytes' },
  { text: 'WebSocket, against TCP, the worst of five workloads', workloads: doorMessages, of: 'onehop-ws', to: 'onehop-1', max: 1.3 },
  {
    text: "TLS, against mosquitto's TLS, the worst of five workloads",
    workloads: doorMessages,
    of: 'onehop-tls',
    to: 'mosquitto-tls',
    below: 1,
  },
  { text: 'QUIC, CPU per echoed message', workload: 'doors-echo', of: 'onehop-quic', max: 25, unit: 'µs' },
  { text: 'QUIC, memory per idle connection at 2,000', workload: 'doors-idle', of: 'onehop-quic', max: 61_440, unit: 'bytes' },
];
