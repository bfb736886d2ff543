/**
 * TransportCheck: what the listeners of a configuration need of this platform, looked at before anything is bound.
 */
import type { Settings } from '../base/settings.ts';
import { canHandOff } from '../transports/descriptor.ts';
import { quicheFile } from '../transports/quic/binding.ts';
import { loadWebSockets } from '../transports/u-web-sockets.ts';
import { StartError } from './start-error.ts';

/** What a listener needs of this platform. @throws StartError with one clear line */
export async function checkTransports(settings: Settings): Promise<void> {
  const fail = (index: number, problem: string): never => {
    throw new StartError(`listeners[${index}]: ${problem}`, 1);
  };
  for (const [index, { type, proxyProtocol }] of settings.listeners.entries()) {
    if (type === 'ws' || type === 'wss' || isHttp({ type })) await loadWebSockets().catch((error: Error) => fail(index, error.message));
    if ((type === 'ws' || type === 'wss' || isHttp({ type }) || proxyProtocol !== 'none') && !canHandOff())
      fail(index, 'this platform cannot hand sockets over, which WebSocket, HTTP and the PROXY protocol need; use tcp and tls listeners');
    if (type === 'quic' && quicheFile() === null)
      fail(index, `QUIC has no binary for ${process.platform} ${process.arch}; use Linux on x64, or tcp and tls listeners`);
  }
}

/** Whether a listener speaks HTTP. */
export function isHttp({ type }: { readonly type: string }): boolean {
  return type === 'http' || type === 'https';
}
