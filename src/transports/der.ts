/**
 * Der: a reader of DER, the encoding of certificates and of lists of revoked ones [X.690]. It walks over bytes that it does not own and copies nothing.
 * What is not whole throws; whoever reads files says which one.
 */

export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OBJECT_IDENTIFIER = 0x06;
export const BOOLEAN = 0x01;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
/** `[number]` of an optional part. */
export function context(number: number): number {
  return 0xa0 | number;
}

/** One element. */
export interface Element {
  readonly tag: number;
  /** With its tag and length. */
  readonly whole: Buffer;
  readonly content: Buffer;
}

export class Der {
  private readonly bytes: Buffer;
  private at: number;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.at = 0;
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  /** Whether the next element has this tag. */
  isNext(...tags: number[]): boolean {
    return !this.isAtEnd && tags.includes(this.bytes[this.at]!);
  }

  /** The next element. @param tags that it may have; any when none is given @throws when it is another, or not whole */
  next(...tags: number[]): Element {
    const from = this.at;
    const tag = this.bytes.readUInt8(from);
    if (tags.length > 0 && !tags.includes(tag)) throw new Error(`DER: tag ${tag} where ${tags.join(' or ')} belongs`);
    let length = this.bytes.readUInt8(from + 1);
    let contentAt = from + 2;
    if (length > 0x7f) {
      const count = length & 0x7f;
      length = this.bytes.readUIntBE(contentAt, count);
      contentAt += count;
    }
    const end = contentAt + length;
    if (end > this.bytes.length) throw new Error('DER: an element reaches past its end');
    this.at = end;
    return { tag, whole: this.bytes.subarray(from, end), content: this.bytes.subarray(contentAt, end) };
  }

  /** Reads within the next element. */
  into(...tags: number[]): Der {
    return new Der(this.next(...tags).content);
  }
}

/** Milliseconds since 1970 of a UTCTime or GeneralizedTime as certificates have them: with seconds, in UTC [RFC 5280 §4.1.2.5]. */
export function timeOf({ tag, content }: Element): number {
  const text = content.toString('latin1');
  const match = /^(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null || (tag === UTC_TIME) !== (match[1]!.length === 2)) throw new Error('DER: no time');
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  const century = tag === GENERALIZED_TIME ? 0 : year < 50 ? 2000 : 1900;
  return Date.UTC(century + year, month - 1, day, hour, minute, second);
}

/** `1.2.840…` */
export function objectIdentifierOf({ content }: Element): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (byte > 0x7f) continue;
    numbers.push(number);
    number = 0;
  }
  const first = Math.min(2, Math.floor(numbers[0]! / 40));
  return [first, numbers[0]! - first * 40, ...numbers.slice(1)].join('.');
}
