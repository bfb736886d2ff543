/**
 * The byte notation of the conformance scripts: text ↔ bytes.
 *
 * `30 [ s'a/b' [] 'hello' ]` is a PUBLISH. Elements, separated by white space:
 *   hex pairs           30, 0001; in patterns `?` stands for any half byte: 3?, ????
 *   'text'              the UTF-8 bytes of the text, after `{…}` placeholders are filled in
 *   s'text' s( … )      the same behind a Two Byte Integer length
 *   [ … ]               the contents behind a Variable Byte Integer length: a Remaining Length or a Property Length
 *   ( … ) and *N        a group; the element before, N times
 *   NAME(a; key=b)      a packet of packets.json with its parameters filled in
 *   $name               bytes captured earlier
 * and in patterns only
 *   ( A | B )           one of several forms
 *   ...                 whatever is left of the enclosing block
 *   <name:2> s<name>    captures two bytes, or the contents of a string
 *   [~ P, Q, !1f]       a property block that holds P and Q, does not hold property 1f, and may hold others
 *   [= P, Q]            a property block that holds P and Q and nothing else; order matters for User Properties alone
 * It knows nothing of sockets or scripts. Bad notation throws: it is a fault of the script, never of the broker.
 */

/** One packet template of packets.json. */
export interface PacketTemplate {
  /** Parameter names in order; `name=value` gives a default. */
  readonly parameters: readonly string[];
  /** Notation in which `%name` stands for the parameter. */
  readonly bytes: string;
}

export type PacketTemplates = Readonly<Record<string, PacketTemplate>>;

/** Text for `{…}` placeholders: gets what is between the braces. */
export type Placeholders = (name: string) => string;

/** Bytes captured by patterns, by name. */
export type Captures = Map<string, Uint8Array>;

type Element =
  | { readonly kind: 'bytes'; readonly values: readonly number[]; readonly masks: readonly number[] }
  | { readonly kind: 'string'; readonly items: readonly Element[] }
  | { readonly kind: 'block'; readonly items: readonly Element[] }
  | { readonly kind: 'set'; readonly exact: boolean; readonly present: readonly (readonly Element[])[]; readonly absent: readonly number[] }
  | { readonly kind: 'choice'; readonly options: readonly (readonly Element[])[] }
  | { readonly kind: 'capture'; readonly name: string; readonly length: number }
  | { readonly kind: 'use'; readonly name: string }
  | { readonly kind: 'rest' };

/** Parsed notation. */
export type Notation = readonly Element[];

const USER_PROPERTY = 0x26;

/** The form of each MQTT 5.0 property: its size in bytes, or how its length is found. Section 2.2.2.2. */
const PROPERTY_FORMS: ReadonlyMap<number, number | 'variable' | 'string' | 'pair'> = new Map<
  number,
  number | 'variable' | 'string' | 'pair'
>([
  [0x01, 1],
  [0x02, 4],
  [0x03, 'string'],
  [0x08, 'string'],
  [0x09, 'string'],
  [0x0b, 'variable'],
  [0x11, 4],
  [0x12, 'string'],
  [0x13, 2],
  [0x15, 'string'],
  [0x16, 'string'],
  [0x17, 1],
  [0x18, 4],
  [0x19, 1],
  [0x1a, 'string'],
  [0x1c, 'string'],
  [0x1f, 'string'],
  [0x21, 2],
  [0x22, 2],
  [0x23, 2],
  [0x24, 1],
  [0x25, 1],
  [USER_PROPERTY, 'pair'],
  [0x27, 4],
  [0x28, 1],
  [0x29, 1],
  [0x2a, 1],
]);

/**
 * Parses notation after expanding its packet templates.
 * @throws Error when the text is not notation.
 */
export function parseNotation(text: string, templates: PacketTemplates, placeholders: Placeholders): Notation {
  return new Parser(expandTemplates(text, templates), placeholders).all();
}

/**
 * Encodes parsed notation that holds no pattern elements.
 * @throws Error when it holds one, or uses a capture that does not exist.
 */
export function encodeNotation(notation: Notation, captures: Captures): Uint8Array {
  const out: number[] = [];
  for (const element of notation) {
    encodeElement(element, captures, out);
  }
  return Uint8Array.from(out);
}

/** Tells whether the whole of `packet` fits the pattern; if it does, its captures are added. */
export function matchNotation(pattern: Notation, packet: Uint8Array, captures: Captures): boolean {
  const found: Captures = new Map(captures);
  let fits = false;
  matchFrom(pattern, 0, packet, 0, packet.length, found, (at) => {
    fits = at === packet.length;
    return fits;
  });
  if (fits) {
    for (const [name, bytes] of found) {
      captures.set(name, bytes);
    }
  }
  return fits;
}

/** Shows a pattern as hex for a failure report; parts that stand for any bytes show as they were written. */
export function showNotation(pattern: Notation): string {
  return pattern.map(showElement).filter(Boolean).join(' ');
}

/** Replaces `NAME(…)` by the notation of the packet, with its parameters filled in; templates may use templates. */
function expandTemplates(text: string, templates: PacketTemplates): string {
  let expanded = '';
  let at = 0;
  while (at < text.length) {
    const character = text[at]!;
    if (character === "'") {
      const end = text.indexOf("'", at + 1) + 1;
      if (end === 0) {
        throw new Error(`text without closing quote: ${text}`);
      }
      expanded += text.slice(at, end);
      at = end;
      continue;
    }
    const name = /^[A-Z][A-Z0-9_]{2,}/.exec(text.slice(at))?.[0];
    if (name === undefined) {
      expanded += character;
      at++;
      continue;
    }
    const template = templates[name];
    if (template === undefined) {
      throw new Error(`no packet ${name} in packets.json`);
    }
    at += name.length;
    let given: string[] = [];
    if (text[at] === '(') {
      const end = closingParenthesis(text, at);
      given = splitTop(text.slice(at + 1, end), ';');
      at = end + 1;
    }
    expanded += expandTemplates(fillTemplate(name, template, given), templates);
  }
  return expanded;
}

function fillTemplate(name: string, template: PacketTemplate, given: readonly string[]): string {
  const values = new Map<string, string>();
  for (const parameter of template.parameters) {
    const [key, fallback] = splitOnce(parameter);
    if (fallback !== undefined) {
      values.set(key, fallback);
    }
  }
  let position = 0;
  for (const argument of given) {
    const named = /^\s*([a-z]\w*)=(.*)$/s.exec(argument);
    const key = named === null ? splitOnce(template.parameters[position++] ?? '')[0] : named[1]!;
    if (!template.parameters.some((parameter) => splitOnce(parameter)[0] === key)) {
      throw new Error(`${name} has no parameter '${key}'`);
    }
    if (named !== null || argument.trim() !== '' || !values.has(key)) {
      values.set(key, (named === null ? argument : named[2]!).trim());
    }
  }
  return template.bytes.replace(/%([a-z]\w*)/g, (_all, key: string) => {
    const value = values.get(key);
    if (value === undefined) {
      throw new Error(`${name} lacks its parameter '${key}'`);
    }
    return value;
  });
}

function splitOnce(parameter: string): [string, string | undefined] {
  const at = parameter.indexOf('=');
  return at === -1 ? [parameter, undefined] : [parameter.slice(0, at), parameter.slice(at + 1)];
}

function closingParenthesis(text: string, open: number): number {
  let depth = 0;
  let quoted = false;
  for (let at = open; at < text.length; at++) {
    const character = text[at];
    if (character === "'") {
      quoted = !quoted;
    } else if (!quoted && character === '(') {
      depth++;
    } else if (!quoted && character === ')' && --depth === 0) {
      return at;
    }
  }
  throw new Error(`parenthesis without end: ${text.slice(open)}`);
}

/** Splits at a separator that stands outside of quotes, brackets and parentheses. */
function splitTop(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quoted = false;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === "'") {
      quoted = !quoted;
    } else if (!quoted && (character === '(' || character === '[')) {
      depth++;
    } else if (!quoted && (character === ')' || character === ']')) {
      depth--;
    } else if (!quoted && depth === 0 && character === separator) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

/** Recursive descent over expanded notation. */
class Parser {
  private readonly text: string;
  private readonly placeholders: Placeholders;
  private at = 0;

  constructor(text: string, placeholders: Placeholders) {
    this.text = text;
    this.placeholders = placeholders;
  }

  all(): Element[] {
    const items = this.items('');
    if (this.at < this.text.length) {
      throw this.fault();
    }
    return items;
  }

  /** Elements up to one of the stop characters, which is left in place. */
  private items(stops: string): Element[] {
    const items: Element[] = [];
    for (;;) {
      this.space();
      const next = this.text[this.at];
      if (next === undefined || stops.includes(next)) {
        return items;
      }
      if (next === '*') {
        const count = /^\*\d+/.exec(this.text.slice(this.at))?.[0];
        const last = items.pop();
        if (count === undefined || last === undefined) {
          throw this.fault();
        }
        this.at += count.length;
        items.push(...repeated(last, Number(count.slice(1))));
        continue;
      }
      items.push(this.element());
    }
  }

  private element(): Element {
    const rest = this.text.slice(this.at);
    if (rest.startsWith('...')) {
      this.at += 3;
      return { kind: 'rest' };
    }
    const hex = /^[0-9a-f?]+/.exec(rest)?.[0];
    if (hex !== undefined && hex.length % 2 === 0) {
      this.at += hex.length;
      return hexElement(hex);
    }
    if (rest.startsWith("s'") || rest.startsWith('s(') || rest.startsWith('s<')) {
      this.at++;
      const inner = this.element();
      return { kind: 'string', items: [inner] };
    }
    const name = /^(?:\$(\w+)|<(\w+)(?::(\d+))?>)/.exec(rest);
    if (name !== null) {
      this.at += name[0].length;
      return name[1] !== undefined
        ? { kind: 'use', name: name[1] }
        : { kind: 'capture', name: name[2]!, length: name[3] === undefined ? -1 : Number(name[3]) };
    }
    switch (rest[0]) {
      case "'":
        return this.quoted();
      case '[':
        return this.block();
      case '(':
        return this.group();
      default:
        throw this.fault();
    }
  }

  private quoted(): Element {
    const end = this.text.indexOf("'", this.at + 1);
    const filled = this.text.slice(this.at + 1, end).replace(/\{(t|id:\w+)\}/g, (_all, name: string) => this.placeholders(name));
    this.at = end + 1;
    const values = [...Buffer.from(filled, 'utf8')];
    return { kind: 'bytes', values, masks: values.map(() => 0xff) };
  }

  private block(): Element {
    this.at++;
    const mark = this.text[this.at];
    if (mark !== '~' && mark !== '=') {
      const items = this.items(']');
      this.take(']');
      return { kind: 'block', items };
    }
    this.at++;
    const present: Element[][] = [];
    const absent: number[] = [];
    for (;;) {
      this.space();
      if (this.text[this.at] === '!') {
        this.at++;
        absent.push(Number.parseInt(this.text.slice(this.at, this.at + 2), 16));
        this.at += 2;
        this.space();
      } else {
        const items = this.items(',]');
        if (items.length > 0) {
          present.push(items);
        }
      }
      if (this.text[this.at] === ',') {
        this.at++;
        continue;
      }
      this.take(']');
      return { kind: 'set', exact: mark === '=', present, absent };
    }
  }

  private group(): Element {
    this.at++;
    const options: Element[][] = [this.items('|)')];
    while (this.text[this.at] === '|') {
      this.at++;
      options.push(this.items('|)'));
    }
    this.take(')');
    return { kind: 'choice', options };
  }

  private space(): void {
    while (this.text[this.at] === ' ') {
      this.at++;
    }
  }

  private take(character: string): void {
    if (this.text[this.at] !== character) {
      throw this.fault();
    }
    this.at++;
  }

  private fault(): Error {
    return new Error(`bad notation at '${this.text.slice(this.at, this.at + 20)}' in: ${this.text}`);
  }
}

/** Copies of an element; bytes become one long element, so that a payload of kilobytes costs no recursion. */
function repeated(element: Element, count: number): Element[] {
  if (element.kind !== 'bytes') {
    return new Array<Element>(count).fill(element);
  }
  const values: number[] = [];
  const masks: number[] = [];
  for (let copies = count; copies > 0; copies--) {
    pushAll(values, element.values);
    pushAll(masks, element.masks);
  }
  return [{ kind: 'bytes', values, masks }];
}

function hexElement(hex: string): Element {
  const values: number[] = [];
  const masks: number[] = [];
  for (let at = 0; at < hex.length; at += 2) {
    let value = 0;
    let mask = 0;
    for (const digit of hex.slice(at, at + 2)) {
      value = (value << 4) | (digit === '?' ? 0 : Number.parseInt(digit, 16));
      mask = (mask << 4) | (digit === '?' ? 0 : 0xf);
    }
    values.push(value);
    masks.push(mask);
  }
  return { kind: 'bytes', values, masks };
}

function encodeElement(element: Element, captures: Captures, out: number[]): void {
  switch (element.kind) {
    case 'bytes':
      if (element.masks.some((mask) => mask !== 0xff)) {
        throw new Error('a wildcard cannot be sent');
      }
      pushAll(out, element.values);
      return;
    case 'string': {
      const inner = encodeNotation(element.items, captures);
      out.push(inner.length >> 8, inner.length & 0xff);
      pushAll(out, inner);
      return;
    }
    case 'block': {
      const inner = encodeNotation(element.items, captures);
      pushVariable(out, inner.length);
      pushAll(out, inner);
      return;
    }
    case 'choice':
      if (element.options.length !== 1) {
        throw new Error('a choice cannot be sent');
      }
      for (const item of element.options[0]!) {
        encodeElement(item, captures, out);
      }
      return;
    case 'use':
      pushAll(out, captured(element.name, captures));
      return;
    default:
      throw new Error(`'${element.kind}' cannot be sent`);
  }
}

/** Spread arguments overflow the stack for payloads of a megabyte, so bytes are pushed one by one. */
function pushAll(out: number[], bytes: Iterable<number>): void {
  for (const byte of bytes) {
    out.push(byte);
  }
}

function pushVariable(out: number[], value: number): void {
  let left = value;
  do {
    const digit = left % 128;
    left = (left - digit) / 128;
    out.push(left > 0 ? digit | 0x80 : digit);
  } while (left > 0);
}

function captured(name: string, captures: Captures): Uint8Array {
  const bytes = captures.get(name);
  if (bytes === undefined) {
    throw new Error(`nothing was captured as $${name}`);
  }
  return bytes;
}

/** Matches items from `index` on against bytes at..end; `then` gets the place behind them and decides whether that is good. */
function matchFrom(
  items: readonly Element[],
  index: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  captures: Captures,
  then: (at: number) => boolean,
): boolean {
  const element = items[index];
  if (element === undefined) {
    return then(at);
  }
  const further = (next: number): boolean => matchFrom(items, index + 1, bytes, next, end, captures, then);
  switch (element.kind) {
    case 'bytes':
      return matchBytes(element.values, element.masks, bytes, at, end) && further(at + element.values.length);
    case 'use': {
      const expected = captured(element.name, captures);
      return matchBytes(expected, undefined, bytes, at, end) && further(at + expected.length);
    }
    case 'rest':
      return further(end);
    case 'capture': {
      const next = element.length === -1 ? end : at + element.length;
      if (next > end) {
        return false;
      }
      captures.set(element.name, bytes.slice(at, next));
      return further(next);
    }
    case 'string': {
      const inner = at + 2;
      const innerEnd = at + 2 <= end ? inner + (bytes[at]! << 8) + bytes[at + 1]! : end + 1;
      return (
        innerEnd <= end && matchFrom(element.items, 0, bytes, inner, innerEnd, captures, (next) => next === innerEnd && further(innerEnd))
      );
    }
    case 'block': {
      const block = readBlock(bytes, at, end);
      return (
        block !== undefined &&
        matchFrom(element.items, 0, bytes, block.at, block.end, captures, (next) => next === block.end && further(block.end))
      );
    }
    case 'set': {
      const block = readBlock(bytes, at, end);
      return block !== undefined && matchSet(element, bytes, block.at, block.end, captures) && further(block.end);
    }
    case 'choice':
      return element.options.some((option) => matchFrom(option, 0, bytes, at, end, captures, further));
  }
}

function matchBytes(values: ArrayLike<number>, masks: readonly number[] | undefined, bytes: Uint8Array, at: number, end: number): boolean {
  if (at + values.length > end) {
    return false;
  }
  for (let offset = 0; offset < values.length; offset++) {
    if (((bytes[at + offset]! ^ values[offset]!) & (masks?.[offset] ?? 0xff)) !== 0) {
      return false;
    }
  }
  return true;
}

/** Where the contents of a length-prefixed block lie, or undefined when it does not fit. */
function readBlock(bytes: Uint8Array, at: number, end: number): { at: number; end: number } | undefined {
  let length = 0;
  let scale = 1;
  for (let next = at; next < end && next < at + 4; next++) {
    length += (bytes[next]! & 0x7f) * scale;
    scale *= 128;
    if (bytes[next]! < 0x80) {
      return next + 1 + length <= end ? { at: next + 1, end: next + 1 + length } : undefined;
    }
  }
  return undefined;
}

function matchSet(set: Extract<Element, { kind: 'set' }>, bytes: Uint8Array, at: number, end: number, captures: Captures): boolean {
  const properties = readProperties(bytes, at, end);
  if (properties === undefined || properties.some((property) => set.absent.includes(bytes[property.at]!))) {
    return false;
  }
  const left = [...properties];
  for (const expected of set.present) {
    const isUserProperty = expected[0]?.kind === 'bytes' && expected[0].values[0] === USER_PROPERTY;
    const found = left.findIndex(
      (property) =>
        (isUserProperty && bytes[property.at] === USER_PROPERTY) ||
        matchFrom(expected, 0, bytes, property.at, property.end, captures, (next) => next === property.end),
    );
    const property = left[found];
    if (property === undefined) {
      return false;
    }
    // The first User Property left must be the one expected: their order counts.
    if (isUserProperty && !matchFrom(expected, 0, bytes, property.at, property.end, captures, (next) => next === property.end)) {
      return false;
    }
    left.splice(found, 1);
  }
  return !set.exact || left.length === 0;
}

/** Splits a property block into its properties, or tells by undefined that it is not well formed. */
function readProperties(bytes: Uint8Array, from: number, end: number): { at: number; end: number }[] | undefined {
  const properties: { at: number; end: number }[] = [];
  let at = from;
  while (at < end) {
    const form = PROPERTY_FORMS.get(bytes[at]!);
    let next = at + 1;
    if (form === undefined) {
      return undefined;
    }
    if (typeof form === 'number') {
      next += form;
    } else if (form === 'variable') {
      while (next < end && bytes[next]! >= 0x80) {
        next++;
      }
      next++;
    } else {
      for (let strings = form === 'pair' ? 2 : 1; strings > 0; strings--) {
        next += next + 2 <= end ? 2 + (bytes[next]! << 8) + bytes[next + 1]! : end;
      }
    }
    if (next > end) {
      return undefined;
    }
    properties.push({ at, end: next });
    at = next;
  }
  return properties;
}

function showElement(element: Element): string {
  switch (element.kind) {
    case 'bytes':
      return element.values.map((value, index) => (element.masks[index] === 0xff ? hexByte(value) : '??')).join('');
    case 'string':
      return `s(${showNotation(element.items)})`;
    case 'block':
      return `[${showNotation(element.items)}]`;
    case 'set':
      return `[${element.exact ? '=' : '~'} ${[...element.present.map(showNotation), ...element.absent.map((id) => `!${hexByte(id)}`)].join(', ')}]`;
    case 'choice':
      return `(${element.options.map(showNotation).join(' | ')})`;
    case 'capture':
      return `<${element.name}>`;
    case 'use':
      return `$${element.name}`;
    case 'rest':
      return '...';
  }
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
