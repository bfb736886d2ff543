/**
 * One request to a service of somebody else, with bounds on the time to connect, the time to answer and the bytes of the answer. Connections are kept and used again; how many requests
 * are under way is the caller's matter.
 */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';

/** An answer is a few words. */
const ANSWER_BYTES_MAX = 64 * 1024;

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** What the service has said of when to come again; '': nothing. */
  readonly retryAfter: string;
}

export interface HttpLimits {
  readonly connectMilliseconds: number;
  /** From the connection to the end of the answer. */
  readonly readMilliseconds: number;
}

export class HttpService {
  private readonly url: URL;
  private readonly limits: HttpLimits;
  private readonly agent: HttpAgent | HttpsAgent;

  constructor(url: URL, limits: HttpLimits) {
    this.url = url;
    this.limits = limits;
    this.agent = url.protocol === 'https:' ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  }

  /**
   * @param query added to the address; @param body null: none
   * @throws what went wrong on the way: no connection, no answer in time, too long an answer
   */
  ask(method: string, query: URLSearchParams, headers: Readonly<Record<string, string>>, body: string | null): Promise<HttpAnswer> {
    const url = new URL(this.url);
    for (const [name, value] of query) url.searchParams.append(name, value);
    const { connectMilliseconds, readMilliseconds } = this.limits;
    return new Promise((resolve, reject) => {
      const send = url.protocol === 'https:' ? requestHttps : requestHttp;
      const request = send(url, {
        method,
        agent: this.agent,
        headers: body === null ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
      });
      let late: NodeJS.Timeout | undefined;
      const allow = (milliseconds: number, problem: string): void => {
        clearTimeout(late);
        late = setTimeout(() => request.destroy(new Error(problem)), milliseconds);
      };
      const noAnswer = `no answer within ${readMilliseconds} ms`;
      request.once('socket', (socket) => {
        if (!socket.connecting) allow(readMilliseconds, noAnswer);
        else {
          allow(connectMilliseconds, `no connection within ${connectMilliseconds} ms`);
          socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => allow(readMilliseconds, noAnswer));
        }
      });
      let isAnswering = false;
      request.once('response', (response) => {
        isAnswering = true;
        read(response).then(
          (text) =>
            resolve({
              status: response.statusCode ?? 0,
              contentType: response.headers['content-type'] ?? '',
              body: text,
              retryAfter: response.headers['retry-after'] ?? '',
            }),
          (error: Error) => {
            request.destroy();
            reject(error);
          },
        );
      });
      request.once('error', reject);
      request.once('close', () => {
        clearTimeout(late);
        // From the first byte of the answer on, its reader knows how it ends.
        if (!isAnswering) reject(new Error('the connection was closed before the answer'));
      });
      request.end(body ?? undefined);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX) throw new Error(`the answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
