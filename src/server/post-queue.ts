/**
 * PostQueue: what is to be sent to a service of somebody else, one POST after the other, in order. A POST that fails is sent again at growing intervals; the queue is bounded, and
 * what finds no place in it, or is given up, is lost and counted.
 */
import type { HttpService } from '../auth/http-request.ts';

const FIRST_WAIT_MILLISECONDS = 500;
const WAIT_MILLISECONDS_MAX = 60_000;
const NO_QUERY = new URLSearchParams();
/** How long a stop waits for what is left. */
const STOP_MILLISECONDS = 1000;

export interface PostOptions {
  readonly url: URL;
  readonly timeoutMilliseconds: number;
  readonly retries: number;
  readonly itemsMax: number;
  /** Headers of a POST with this body, made anew for each attempt. */
  readonly headers: (body: string) => Readonly<Record<string, string>>;
  /** One item is done. @param problem null: it was taken */
  readonly done: (item: PostItem, problem: string | null) => void;
}

export interface PostItem {
  readonly body: string;
  /** What it counts for. */
  readonly weight: number;
}

export class PostQueue {
  private readonly options: PostOptions;
  /** Null: nothing was sent yet. */
  private service: HttpService | null;
  private readonly items: PostItem[];
  private isSending: boolean;
  private isStopping: boolean;
  private timer: NodeJS.Timeout | null;
  /** It waits for the timer. */
  private waiting: PostItem | null;
  private idle: () => void;

  constructor(options: PostOptions) {
    this.options = options;
    this.service = null;
    this.items = [];
    this.isSending = false;
    this.isStopping = false;
    this.timer = null;
    this.waiting = null;
    this.idle = () => {};
  }

  push(item: PostItem): void {
    if (this.items.length >= this.options.itemsMax || this.isStopping) {
      this.options.done(item, 'the queue is full');
      return;
    }
    this.items.push(item);
    this.next();
  }

  private next(): void {
    if (this.isSending) return;
    const item = this.items.shift();
    if (item === undefined) {
      this.idle();
      return;
    }
    this.isSending = true;
    void this.send(item, 0);
  }

  private async send(item: PostItem, tries: number): Promise<void> {
    const { headers, retries, done } = this.options;
    let problem: string | null;
    let mayRetry = true;
    let wait = Math.min(WAIT_MILLISECONDS_MAX, FIRST_WAIT_MILLISECONDS * 2 ** tries);
    try {
      this.service ??= await openService(this.options);
      const { status, retryAfter } = await this.service.ask('POST', NO_QUERY, headers(item.body), item.body);
      problem = status < 300 ? null : `status ${status}`;
      // What is wrong with a request is wrong with it the next time.
      mayRetry = status >= 500 || status === 429 || status === 408;
      const seconds = Number(retryAfter);
      if (seconds > 0) wait = Math.min(WAIT_MILLISECONDS_MAX, seconds * 1000);
    } catch (error) {
      problem = (error as Error).message;
    }
    if (problem === null || !mayRetry || tries >= retries || this.isStopping) {
      this.isSending = false;
      done(item, problem);
      this.next();
      return;
    }
    // Those who wait at the same time for the same service shall not come back at the same time.
    this.waiting = item;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.waiting = null;
        void this.send(item, tries + 1);
      },
      wait * (0.75 + Math.random() / 2),
    );
    this.timer.unref();
  }

  /** Sends what is left, once and for a short time. */
  async stop(): Promise<void> {
    this.isStopping = true;
    const isWaiting = this.timer !== null;
    if (this.timer !== null) clearTimeout(this.timer);
    // A service that is not there now keeps nobody from stopping.
    if (this.isSending && !isWaiting) {
      let late: NodeJS.Timeout | undefined;
      await Promise.race([
        new Promise<void>((resolve) => {
          this.idle = resolve;
        }),
        new Promise<void>((resolve) => {
          late = setTimeout(resolve, STOP_MILLISECONDS);
        }),
      ]);
      clearTimeout(late);
    }
    if (this.waiting !== null) this.items.unshift(this.waiting);
    this.waiting = null;
    for (const item of this.items.splice(0)) this.options.done(item, 'it was not sent before the end');
    this.service?.close();
  }
}

/** Node's clients of HTTP take 9 ms to load, and most brokers have nobody to send anything to. */
async function openService({ url, timeoutMilliseconds }: PostOptions): Promise<HttpService> {
  const { HttpService: Service } = await import('../auth/http-request.ts');
  return new Service(url, { connectMilliseconds: timeoutMilliseconds, readMilliseconds: timeoutMilliseconds });
}
