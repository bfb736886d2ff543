/**
 * What the benchmark measures, and what it aims for: the table of workloads and the table of targets.
 *
 * `args` go to the load generator as they are; `quick` replaces some of them in the short form. Adding a workload is adding a row.
 */

/** The lower-case `name` is what `--only` takes. `metric` is the field of the generator's result that is compared. */
export const workloads = [
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
    without: ['aedes'], // it has no shared subscriptions
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
    without: ['aedes'],
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

/** Each target is an upper bound: of a ratio to another broker in the same run (`to`), or of a value by itself. */
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
  { text: 'memory per idle connection at 15,000', workload: 'idle', of: 'onehop-1', max: 6144, unit: 'bytes' },
  { text: 'start to first accepted connection', workload: 'start', of: 'onehop-1', max: 500, unit: 'ms' },
];
