/**
 * HttpAuthenticator: asks a service of the fleet's owner, over HTTP. The answer is a status of 200 with JSON `{"result": "allow" | "deny" | "ignore"}`, or 204 for `allow`.
 *
 * A service that is slow or down costs only those who need it: requests have a bound on their number and their time, those that wait have a bound, and after
 * failures in a row nobody asks for a while (`breaker.ts`). Whatever is no answer counts as `ignore`: the chain goes on.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { HttpSettings } from '../base/settings.ts';
import type { Login } from '../shard/login.ts';
import { attributesOf } from './attributes.ts';
import { type Authenticator, Busy, deny, type Finding, ignore } from './authenticator.ts';
import { Breaker } from './breaker.ts';
import { HttpService } from './http-request.ts';

const FAILURES_MAX = 5;
const PAUSE_MILLISECONDS = 10_000;
/** Requests that wait for a connection. */
const WAITING_MAX = 10_000;
const CACHED_MAX = 65_536;

interface Cached {
  readonly finding: Finding;
  readonly until: number;
}

export class HttpAuthenticator implements Authenticator {
  readonly name = 'http';
  private readonly settings: HttpSettings;
  private readonly service: HttpService;
  private readonly breaker: Breaker;
  private waiting: number;
  private readonly cached: Map<string, Cached>;
  private readonly key: Buffer;
  private readonly clock: () => number;

  constructor(settings: HttpSettings, clock: () => number = () => performance.now()) {
    this.settings = settings;
    this.service = new HttpService(new URL(settings.url), settings);
    this.breaker = new Breaker(FAILURES_MAX, PAUSE_MILLISECONDS);
    this.waiting = 0;
    this.cached = new Map();
    this.key = randomBytes(32);
    this.clock = clock;
  }

  async judge(login: Login): Promise<Finding> {
    const { method, headers, body } = this.settings;
    const filledHeaders = filled(headers, login, headerText);
    const filledBody = filled(body, login, (text) => text);
    const key = this.settings.cacheMilliseconds === 0 ? '' : this.keyOf(filledHeaders, filledBody);
    const known = key === '' ? undefined : this.cached.get(key);
    if (known !== undefined && known.until > this.clock()) return known.finding;
    if (this.waiting >= WAITING_MAX) throw new Busy('too many requests wait');
    if (!this.breaker.mayAsk(this.clock())) return ignore('not asked: it has failed again and again');
    this.waiting++;
    try {
      const isPost = method === 'POST';
      const query = new URLSearchParams(isPost ? {} : filledBody);
      const accept = { accept: 'application/json', ...(isPost && { 'content-type': 'application/json' }) };
      const answer = await this.service.ask(method, query, { ...accept, ...filledHeaders }, isPost ? JSON.stringify(filledBody) : null);
      // A service that answers is there, whatever it says; 5xx is what balancers say for one that is not.
      if (answer.status >= 500) this.breaker.failed(this.clock());
      else this.breaker.succeeded();
      const finding = this.findingOf(answer.status, answer.contentType, answer.body);
      if (key !== '' && finding.effect !== 'ignore') this.remember(key, finding);
      return finding;
    } catch (error) {
      this.breaker.failed(this.clock());
      throw error;
    } finally {
      this.waiting--;
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
    const seconds = typeof expiresAt === 'number' && expiresAt > 0 ? expiresAt : 0;
    return this.allow(attributesOf(attributes), isSuperuser === true, seconds * 1000);
  }

  private allow(attributes: Record<string, string>, isSuperuser: boolean, expiresAt: number): Finding {
    return { effect: 'allow', identity: { authenticator: this.name, username: null, attributes, isSuperuser, expiresAt } };
  }

  /** Secrets are among what is asked: a digest under a key that never leaves memory stands for all of it. */
  private keyOf(headers: object, body: object): string {
    return createHmac('sha256', this.key)
      .update(JSON.stringify([headers, body]))
      .digest('base64');
  }

  private remember(key: string, finding: Finding): void {
    this.cached.delete(key);
    this.cached.set(key, { finding, until: this.clock() + this.settings.cacheMilliseconds });
    if (this.cached.size > CACHED_MAX) this.cached.delete(this.cached.keys().next().value!);
  }

  close(): void {
    this.service.close();
  }
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

/** What a client shows must not end a header and begin another one. */
function headerText(text: string): string {
  return encodeURI(text);
}
