/*
 * Questions to the message history of a broker, for tests: over HTTP, as people ask.
 */
import assert from 'node:assert/strict';

/** A message as the API shows it; what tests look at. */
export interface HistoryMessage {
  readonly id: string;
  readonly topic: string;
  readonly publisher: string;
  readonly payloadBase64: string | null;
}

export interface HistoryFacts {
  readonly kept: number;
  readonly dropped: number;
  readonly lost: number;
  readonly evictedBytes: number;
  readonly waitingBytes: number;
  readonly failing: boolean;
}

/** A wait that is longer ends the test. */
const MILLISECONDS_MAX = 30_000;
const PAGE = 1000;

export class HistoryReader {
  private readonly url: string;
  private readonly key: string;

  /** @param key of an operator */
  constructor(url: string, key: string) {
    this.url = url;
    this.key = key;
  }

  /** One request, on a connection of its own: those of a shard that dies go with it. */
  async request(method: string, path: string, body?: object): Promise<Response> {
    return await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        connection: 'close',
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(MILLISECONDS_MAX),
    });
  }

  /** Status of a question, and what is wrong with it where something is. */
  async status(path: string): Promise<{ readonly status: number; readonly code: string }> {
    const reply = await this.request('GET', path);
    const { code = '' } = (await reply.json()) as { code?: string };
    return { status: reply.status, code };
  }

  /** All that is found, page by page. A page that has no answer just now is asked for again. */
  async findAll(query = ''): Promise<HistoryMessage[]> {
    const found: HistoryMessage[] = [];
    const end = Date.now() + MILLISECONDS_MAX;
    for (let cursor = ''; ; ) {
      const path = `/api/v1/messages?order=oldest&limit=${PAGE}&${query}${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const reply = await this.request('GET', path);
      if (reply.status === 503) {
        assert.ok(Date.now() < end, 'the history answers in the end');
        await reply.text();
        continue;
      }
      assert.equal(reply.status, 200);
      const { data, next } = (await reply.json()) as { data: HistoryMessage[]; next: string | null };
      found.push(...data);
      if (next === null) return found;
      cursor = next;
    }
  }

  async facts(): Promise<HistoryFacts> {
    const reply = await this.request('GET', '/api/v1/message-history');
    assert.equal(reply.status, 200);
    return (await reply.json()) as HistoryFacts;
  }

  /** Asks until the history is as it must be in the end. */
  async until(what: string, holds: (facts: HistoryFacts) => boolean): Promise<HistoryFacts> {
    const end = Date.now() + MILLISECONDS_MAX;
    for (;;) {
      const reply = await this.request('GET', '/api/v1/message-history');
      const facts = (await reply.json()) as HistoryFacts;
      if (reply.status === 200 && holds(facts)) return facts;
      assert.ok(Date.now() < end, `${what}: ${reply.status} ${JSON.stringify(facts)}`);
    }
  }
}

export function textOf({ payloadBase64 }: HistoryMessage): string {
  return Buffer.from(payloadBase64!, 'base64').toString();
}

/** IDs grow, and each is there once. */
export function assertInOrder(messages: readonly HistoryMessage[]): void {
  for (let i = 1; i < messages.length; i++)
    assert.ok(messages[i]!.id > messages[i - 1]!.id, `${messages[i]!.id} is behind ${messages[i - 1]!.id}`);
}
