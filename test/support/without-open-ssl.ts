/*
 * Preloaded into a broker (`node --import`): koffi finds no function of TLS there, as in a Node that does not show them.
 */
import Module from 'node:module';

interface Library {
  func(signature: string): unknown;
}

interface Koffi {
  load(name: null): Library;
}

const loader = Module as unknown as { _load(name: string, ...more: unknown[]): unknown };
const load = loader._load;
loader._load = (name, ...more) => {
  const loaded = load.call(loader, name, ...more);
  if (name !== 'koffi') return loaded;
  const koffi = loaded as Koffi;
  return {
    ...koffi,
    load: (library: null): Library => {
      const own = koffi.load(library);
      return {
        func: (signature) => {
          if (/ SSL_/.test(signature)) throw new Error(`Cannot find function in shared library: ${signature}`);
          return own.func(signature);
        },
      };
    },
  };
};
