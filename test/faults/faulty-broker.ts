/*
 * A broker whose disk can be made to fail. It is started as every broker of the tests is; only its environment is another one.
 */
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts';
import type { FaultLayer } from './fault-layer.ts';

/** Starts a process under the layer. `start` makes it before it waits for anything. */
export function underLayer<T>(layer: FaultLayer, start: () => T): T {
  // A child takes the environment of this process at the moment of the call, so it is changed for this call alone.
  const before = { ...process.env };
  Object.assign(process.env, layer.environment);
  try {
    return start();
  } finally {
    for (const name of Object.keys(layer.environment)) {
      if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = before[name];
    }
  }
}

/** Starts a broker over the layer's directory, and under the layer. */
export function startFaultyBroker(layer: FaultLayer, options: BrokerOptions): Promise<TestBroker> {
  return underLayer(layer, () => startBroker({ ...options, 'store.path': layer.directory }));
}
