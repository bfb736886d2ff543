/**
 * HttpAuthenticator: asks a service of the fleet's owner, over HTTP. The answer is a status of 200 with JSON `{"result": "allow" | "deny" | "ignore"}`, or 204 for `allow`.
 *
 * A service that is slow or down costs only those who need it: requests have a bound on their number and their time, those that wait have a bound, and after
 * failures in a row nobody asks for a while (`breaker.ts`). An answer of another form counts as `ignore`; no answer is an error: nobody knows what it would have been.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { HttpSettings } from '../base/settings.ts';
import type { Login } from '../shard/login.ts';
import { attributesOf } from './attributes.ts';
import { type Authenticator, deny, type Finding, ignore, Unasked } from './authenticator.ts';
import { Breaker } from './breaker.ts';
import { headerText, userPropertyHeaders } from './http-headers.ts';
import { HttpService } from './http-request.ts';
import { Turns } from './turns.ts';

const FAILURES_MAX = 5;
const PAUSE_MILLISECONDS = 10_000;
/** Logins that wait for their turn. */
const WAITING_MAX = 10_000;
const CACHED_MAX = 65_536;

interface Question {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, string>>;
}

interface Cached {
  readonly finding: Finding;
  readonly until: number;
}

export class HttpAuthenticator implements Authenticator {
  readonly name = 'http';
  private readonly settings: HttpSettings;
  private readonly service: HttpService;
  private readonly breaker: Breaker;
  private readonly turns: Turns;
  private readonly cached: Map<string, Cached>;
  private readonly key: Buffer;
  private readonly clock: () => number;

  constructor(settings: HttpSettings, clock: () => number = () => performance.now()) {
    this.settings = settings;
    this.service = new HttpService(new URL(settings.url), settings);
    this.breaker = new Breaker(FAILURES_MAX, PAUSE_MILLISECONDS);
    this.turns = new Turns(settings.concurrency, WAITING_MAX);
    this.cached = new Map();
    this.key = randomBytes(32);
    this.clock = clock;
  }

  async judge(login: Login, signal: AbortSignal): Promise<Finding> {
    // What is known needs no turn: it must not wait for a service that is slow.
    const known = this.settings.cacheMilliseconds === 0 ? undefined : this.cached.get(this.keyOf(this.questionOf(login)));
    if (known !== undefined && known.until > this.clock() && !hasEnded(known.finding)) return known.finding;
    await this.turns.take(signal);
    try {
      return await this.askNow(login);
    } finally {
      this.turns.give();
    }
  }

  /** Whether the service is asked: `open`, it is given up for a while. */
  get breakerState(): 'closed' | 'open' | 'trying' {
    return this.breaker.stateAt(this.clock());
  }

  /** Logins that wait for their turn to ask. */
  get waiting(): number {
    return this.turns.waiting;
  }

  /** What is sent. Made anew when a turn has come, and not kept while it is waited for: it may be ten times as long as what the client has shown. */
  private questionOf(login: Login): Question {
    const { headers, body, includeUserProperties } = this.settings;
    const shown = includeUserProperties ? userPropertyHeaders(login.userProperties ?? [], Object.keys(headers)) : {};
    return { headers: { ...shown, ...filled(headers, login, headerText) }, body: filled(body, login, (text) => text) };
  }

  private async askNow(login: Login): Promise<Finding> {
    if (!this.breaker.mayAsk(this.clock())) throw new Unasked('not asked: it has failed again and again');
    const { method } = this.settings;
    const question = this.questionOf(login);
    try {
      const isPost = method === 'POST';
      const query = new URLSearchParams(isPost ? {} : question.body);
      const accept = { accept: 'application/json', ...(isPost && { 'content-type': 'application/json' }) };
      const answer = await this.service.ask(
        method,
        query,
        { ...accept, ...question.headers },
        isPost ? JSON.stringify(question.body) : null,
      );
      // A service that answers is there, whatever it says; 5xx is what balancers say for one that is not.
      if (answer.status >= 500) throw new Error(`it answers ${answer.status}`);
      this.breaker.succeeded();
      const finding = this.findingOf(answer.status, answer.contentType, answer.body);
      if (finding.effect !== 'ignore') this.remember(question, finding);
      return finding;
    } catch (error) {
      this.breaker.failed(this.clock());
      throw error;
    }
  }

  private findingOf(status: number, contentType: string, body: string): Finding {
    if (status === 204) return this.allow({}, false, 0);
    if (status !== 200) return ignore(`it answers ${status}`);
    if (!/^application\/json\b/i.test(contentType)) return ignore('its answer is not application/json');
    let json: unknown;
    try {
      json = JSON.parse(body);
    } catch {
      return ignore('its answer is no JSON');
    }
    if (typeof json !== 'object' || json === null) return ignore('its answer is no object');
    const { result, is_superuser: isSuperuser, attributes, expire_at: expiresAt } = json as Record<string, unknown>;
    if (result === 'deny') return deny('it says deny');
    if (result === 'ignore') return ignore('it says ignore');
    if (result !== 'allow') return ignore('its answer has no result of allow, deny or ignore');
    // What has an end that cannot be read has none that could be kept.
    const seconds = expiresAt ?? 0;
    if (typeof seconds !== 'number' || !(seconds > 0 || expiresAt === undefined)) return ignore('its expire_at is no time');
    return this.allow(attributesOf(attributes), isSuperuser === true, seconds * 1000);
  }

  private allow(attributes: Record<string, string>, isSuperuser: boolean, expiresAt: number): Finding {
    return { effect: 'allow', identity: { authenticator: this.name, username: null, attributes, isSuperuser, rules: null, expiresAt } };
  }

  /** Secrets are among what is asked: a digest under a key that never leaves memory stands for all of it. */
  private keyOf(question: Question): string {
    return createHmac('sha256', this.key).update(JSON.stringify(question)).digest('base64');
  }

  private remember(question: Question, finding: Finding): void {
    if (this.settings.cacheMilliseconds === 0) return;
    const key = this.keyOf(question);
    this.cached.delete(key);
    this.cached.set(key, { finding, until: this.clock() + this.settings.cacheMilliseconds });
    if (this.cached.size > CACHED_MAX) this.cached.delete(this.cached.keys().next().value!);
  }

  close(): void {
    this.service.close();
  }
}

function hasEnded(finding: Finding): boolean {
  return finding.effect === 'allow' && finding.identity.expiresAt > 0 && finding.identity.expiresAt <= Date.now();
}

/** Values with `${ClientId}`, `${Username}`, `${Password}` and `${Address}` replaced. */
function filled(template: Readonly<Record<string, string>>, login: Login, clean: (text: string) => string): Record<string, string> {
  const values: Record<string, string> = {
    ClientId: login.clientId,
    Username: login.username ?? '',
    Password: login.password === null ? '' : Buffer.from(login.password).toString(),
    Address: login.address,
  };
  const result: Record<string, string> = {};
  for (const [name, text] of Object.entries(template))
    result[name] = text.replace(/\$\{(\w+)\}/g, (whole, word: string) => (Object.hasOwn(values, word) ? clean(values[word]!) : whole));
  return result;
}
