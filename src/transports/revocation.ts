/**
 * Revocation: lists of revoked client certificates (CRLs), for transports whose TLS cannot read them [RFC 5280 §5, §6.3]. A list counts when a certificate of the
 * listener's `ca` file has signed it and it is not out of date. What cannot be judged is refused: no list of the issuer, an expired list, a list of a kind that is
 * not understood.
 */
import { verify, X509Certificate } from 'node:crypto';
import {
  BIT_STRING,
  BOOLEAN,
  context,
  Der,
  type Element,
  GENERALIZED_TIME,
  INTEGER,
  OBJECT_IDENTIFIER,
  objectIdentifierOf,
  SEQUENCE,
  timeOf,
  UTC_TIME,
} from './der.ts';

/** Digest by the identifier of a signature; null where the key says it itself. */
const SIGNATURES: Record<string, string | null> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
  '1.3.101.113': null,
};

/** Certificates between a client and its root. */
const CHAIN_MAX = 8;

/** One list. */
interface RevokedList {
  /** DER of the name, in hexadecimal. */
  readonly issuer: string;
  readonly from: number;
  /** Infinite where the list does not say when the next one comes. */
  readonly until: number;
  /** Serial numbers in hexadecimal. */
  readonly serials: ReadonlySet<string>;
}

/** What the checks need of a certificate. */
interface Names {
  readonly serial: string;
  readonly issuer: string;
  readonly subject: string;
}

export class Revocation {
  private readonly roots: readonly { readonly certificate: X509Certificate; readonly names: Names }[];
  private readonly lists: readonly RevokedList[];

  /**
   * @param roots PEM blocks of certificates @param lists PEM blocks of lists
   * @throws Error with half a sentence when a list cannot be used
   */
  constructor(roots: readonly string[], lists: readonly string[]) {
    this.roots = roots.map((pem) => {
      const certificate = new X509Certificate(pem);
      return { certificate, names: namesOf(certificate) };
    });
    this.lists = lists.map((pem) => this.read(bytesOf(pem)));
  }

  /** Why this certificate is not good, or null. It has been verified to lead to one of the roots. @param now milliseconds since 1970 */
  problemOf(certificate: X509Certificate, now: number): string | null {
    let names = namesOf(certificate);
    for (let depth = 0; depth < CHAIN_MAX; depth++) {
      const lists = this.lists.filter(({ issuer }) => issuer === names.issuer);
      if (lists.length === 0) return 'there is no list of revoked certificates of its issuer';
      const fresh = lists.filter(({ from, until }) => from <= now && now < until);
      if (fresh.length === 0) return 'the list of revoked certificates is out of date';
      if (fresh.some(({ serials }) => serials.has(names.serial))) return 'certificate revoked';
      const next = this.roots.find(({ names: root }) => root.subject === names.issuer);
      // Every list was signed by one of the roots, so the issuer is there.
      if (next === undefined || next.names.subject === next.names.issuer) return null;
      names = next.names;
    }
    return 'the chain is too long';
  }

  /**
   * Whether a list names this certificate or one between it and its root, however old the list is. For those who are connected: a list that comes too late must
   * not end them all.
   * @param der a whole certificate
   */
  names(der: Uint8Array): boolean {
    let next: Names | undefined = namesIn(Buffer.from(der.buffer, der.byteOffset, der.byteLength));
    for (let depth = 0; depth < CHAIN_MAX && next !== undefined; depth++) {
      const { serial, issuer, subject }: Names = next;
      if (this.lists.some((list) => list.issuer === issuer && list.serials.has(serial))) return true;
      next = subject === issuer ? undefined : this.roots.find(({ names }) => names.subject === issuer)?.names;
    }
    return false;
  }

  private read(bytes: Buffer): RevokedList {
    const outer = new Der(bytes).into(SEQUENCE);
    const signed = outer.next(SEQUENCE);
    const algorithm = objectIdentifierOf(outer.into(SEQUENCE).next(OBJECT_IDENTIFIER));
    const bits = outer.next(BIT_STRING).content;
    if (bits[0] !== 0 || !outer.isAtEnd) throw new Error('DER: no signature');
    const signature = bits.subarray(1);
    const list = readList(signed);
    const digest = SIGNATURES[algorithm];
    if (digest === undefined) throw new Error(`a list of revoked certificates is signed by an algorithm that is not known (${algorithm})`);
    const signers = this.roots.filter(({ names }) => names.subject === list.issuer);
    if (!signers.some(({ certificate }) => verify(digest, signed.whole, certificate.publicKey, signature)))
      throw new Error('no certificate of ca has signed this list of revoked certificates');
    return list;
  }
}

/** TBSCertList [RFC 5280 §5.1]. */
function readList(signed: Element): RevokedList {
  const fields = new Der(signed.content);
  if (fields.isNext(INTEGER)) fields.next();
  fields.next(SEQUENCE); // algorithm, again
  const issuer = fields.next(SEQUENCE).whole.toString('hex');
  const from = timeOf(fields.next(UTC_TIME, GENERALIZED_TIME));
  const until = fields.isNext(UTC_TIME, GENERALIZED_TIME) ? timeOf(fields.next()) : Number.POSITIVE_INFINITY;
  const serials = new Set<string>();
  if (fields.isNext(SEQUENCE)) {
    const entries = fields.into();
    while (!entries.isAtEnd) {
      const entry = entries.into(SEQUENCE);
      serials.add(entry.next(INTEGER).content.toString('hex'));
      entry.next(UTC_TIME, GENERALIZED_TIME);
      if (entry.isNext(SEQUENCE)) refuseCritical(entry.into());
    }
  }
  if (fields.isNext(context(0))) refuseCritical(fields.into().into(SEQUENCE));
  return { issuer, from, until, serials };
}

/** Lists of changes, of one part or of several issuers say so in a critical extension; whoever does not know it must not use the list [RFC 5280 §5.2]. */
function refuseCritical(extensions: Der): void {
  while (!extensions.isAtEnd) {
    const extension = extensions.into(SEQUENCE);
    const name = objectIdentifierOf(extension.next(OBJECT_IDENTIFIER));
    if (extension.isNext(BOOLEAN) && extension.next().content[0] !== 0)
      throw new Error(`a list of revoked certificates has a critical extension that is not known (${name})`);
  }
}

function namesOf(certificate: X509Certificate): Names {
  return namesIn(certificate.raw);
}

/** @param der a whole certificate */
function namesIn(der: Buffer): Names {
  const fields = new Der(der).into(SEQUENCE).into(SEQUENCE);
  if (fields.isNext(context(0))) fields.next(); // version
  const serial = fields.next(INTEGER).content.toString('hex');
  fields.next(SEQUENCE); // algorithm
  const issuer = fields.next(SEQUENCE).whole.toString('hex');
  fields.next(SEQUENCE); // validity
  return { serial, issuer, subject: fields.next(SEQUENCE).whole.toString('hex') };
}

function bytesOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]*-----/g, ''), 'base64');
}
