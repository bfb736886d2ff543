/*
 * Real certificates for tests, made by the command line tool `openssl` in a folder of this process: a root, servers, clients, and a list of revoked ones. Everything is
 * signed with elliptic curves, because those are made in a moment.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'onehop-certificates-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Files of one certificate and its key, in PEM. */
export interface CertificatePair {
  readonly chain: string;
  readonly key: string;
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
const AUTHORITY_EXTENSIONS = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];

/** An authority of its own, that signs certificates and revokes them: a root, or one that another has signed. */
export class Authority {
  /** File of its certificate. */
  readonly root: string;
  private readonly name: string;

  /** @param newKey for `openssl req`; elliptic curves unless written */
  constructor(name: string, signer: Authority | null = null, newKey: readonly string[] = KEY) {
    this.name = name;
    this.root = join(folder, `${name}.pem`);
    writeFileSync(
      join(folder, `${name}.cnf`),
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${name}.index\ndefault_md=default\ndefault_crl_days=3650\ndefault_days=3650\nunique_subject=no\nrand_serial=yes\nnew_certs_dir=.\npolicy=any\ncopy_extensions=copy\n[any]\norganizationalUnitName=optional\ncommonName=supplied\n[part]\nissuingDistributionPoint=critical,@point\n[point]\nonlyuser=TRUE\n`,
    );
    writeFileSync(join(folder, `${name}.index`), '');
    if (signer === null)
      openssl('req', '-x509', ...newKey, '-days', '3650', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`);
    else signer.sign(name, name, newKey, AUTHORITY_EXTENSIONS);
  }

  /** Signs a certificate. @param alternatives such as `DNS:localhost`, for servers @param newKey for `openssl req` */
  issue(commonName: string, alternatives: readonly string[] = [], newKey: readonly string[] = KEY): CertificatePair {
    const file = `${this.name}-${commonName.replace(/\W/g, '_')}`;
    return this.sign(file, commonName, newKey, alternatives.length === 0 ? [] : ['-addext', `subjectAltName=${alternatives.join(',')}`]);
  }

  /** Signs a certificate as it is written. @param subject such as `/OU=pumps/CN=pump-7` @param options of `openssl ca`, such as `-startdate` @returns its files */
  issueAs(file: string, subject: string, options: readonly string[] = []): CertificatePair {
    const name = `${this.name}-${file}`;
    openssl('req', ...KEY, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    openssl(...this.own, '-batch', '-preserveDN', '-in', `${name}.csr`, '-out', `${name}.pem`, '-notext', ...options);
    return { chain: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
  }

  private sign(file: string, commonName: string, newKey: readonly string[], extensions: readonly string[]): CertificatePair {
    openssl('req', ...newKey, '-subj', `/CN=${commonName}`, ...extensions, '-keyout', `${file}.key`, '-out', `${file}.csr`);
    openssl(...this.own, '-batch', '-in', `${file}.csr`, '-out', `${file}.pem`, '-notext');
    return { chain: join(folder, `${file}.pem`), key: join(folder, `${file}.key`) };
  }

  private get own(): string[] {
    return ['ca', '-config', `${this.name}.cnf`, '-cert', `${this.name}.pem`, '-keyfile', `${this.name}.key`];
  }

  /** Revokes a certificate that it has signed. @returns the file of all that are revoked */
  revoke({ chain }: CertificatePair): string {
    openssl(...this.own, '-revoke', chain);
    return this.revoked();
  }

  /** Writes the list of revoked certificates. @param options of `openssl ca -gencrl` @returns its file */
  revoked(...options: string[]): string {
    openssl(...this.own, '-gencrl', '-out', `${this.name}.crl`, ...options);
    return join(folder, `${this.name}.crl`);
  }
}

export function pem(file: string): string {
  return readFileSync(file, 'utf8');
}

/** A path in the folder of this process. */
export function temporaryFile(name: string): string {
  return join(folder, name);
}
