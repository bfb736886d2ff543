/*
 * A service of somebody else, for tests of what the broker sends: it keeps the requests that come, and answers as the test says.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface ReceivedRequest {
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpReceiver {
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  /** The status of the answer to each request, by its number from 0 on. */
  answer: (number: number) => number;
  /** Resolves when what has come satisfies `accepts`; now, or after some request. */
  until(accepts: (requests: readonly ReceivedRequest[]) => boolean): Promise<void>;
}

export async function startHttpReceiver(t: TestContext): Promise<HttpReceiver> {
  const requests: ReceivedRequest[] = [];
  const waiters = new Set<() => void>();
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      response.writeHead(receiver.answer(requests.length)).end('{}');
      requests.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() });
      for (const waiter of [...waiters]) waiter();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const receiver: HttpReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: () => 200,
    until: (accepts) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!accepts(requests)) return;
          waiters.delete(look);
          resolve();
        };
        waiters.add(look);
        look();
      }),
  };
  return receiver;
}
