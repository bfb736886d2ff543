/**
 * HttpHeaders: what a client shows, as headers of a request. A client must neither end a header and begin another one, nor say with one what only the broker, or what is
 * between the broker and the service, may say.
 */

const NAME = /^[\w!#$%&'*+.^`|~-]{1,64}$/;
const HEADERS_MAX = 32;
/** Of names and values together; services refuse requests with much more. */
const LENGTH_MAX = 4_096;

/** Headers with a meaning for HTTP itself, for the service's own security, or for proxies before it. */
const RESERVED: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'authorization',
  'cache-control',
  'connection',
  'cookie',
  'cookie2',
  'date',
  'expect',
  'forwarded',
  'from',
  'host',
  'http2-settings',
  'keep-alive',
  'max-forwards',
  'origin',
  'pragma',
  'range',
  'referer',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'true-client-ip',
  'upgrade',
  'user-agent',
  'via',
]);
const RESERVED_PREFIXES = [
  'content-',
  'if-',
  'proxy-',
  'sec-',
  'x-forwarded-',
  'x-http-method',
  'x-method-override',
  'x-original-',
  'x-real-ip',
  'x-rewrite-',
  'cf-',
];

/** A text as the value of a header: percent-encoded, so that it is one line of ASCII. */
export function headerText(text: string): string {
  return encodeURI(text);
}

/**
 * User Properties as headers, by small names; of a name that comes more than once the values are joined by commas.
 * @param taken names that the configuration writes
 */
export function userPropertyHeaders(
  properties: readonly (readonly [key: string, value: string])[],
  taken: readonly string[],
): Record<string, string> {
  const headers = new Map<string, string>();
  const reserved = new Set(taken.map((name) => name.toLowerCase()));
  let length = 0;
  for (const [key, value] of properties) {
    const name = key.toLowerCase();
    // `_`: many services read it as `-`, so it would be another name to them than to us.
    const plain = name.replaceAll('_', '-');
    if (!NAME.test(name) || RESERVED.has(plain) || reserved.has(plain) || reserved.has(name)) continue;
    if (RESERVED_PREFIXES.some((prefix) => plain.startsWith(prefix))) continue;
    const text = headerText(value);
    length += name.length + text.length;
    const before = headers.get(name);
    if (length > LENGTH_MAX || (before === undefined && headers.size === HEADERS_MAX)) break;
    headers.set(name, before === undefined ? text : `${before}, ${text}`);
  }
  return Object.fromEntries(headers);
}
