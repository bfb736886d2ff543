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

/** A root of its own, that signs certificates and revokes them. */
export class Authority {
  /** File of the root's certificate. */
  readonly root: string;
  private readonly name: string;

  constructor(name: string) {
    this.name = name;
    this.root = join(folder, `${name}.pem`);
    writeFileSync(
      join(folder, `${name}.cnf`),
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${name}.index\ndefault_md=sha256\ndefault_crl_days=3650\ndefault_days=3650\nunique_subject=no\nrand_serial=yes\nnew_certs_dir=.\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n`,
    );
    writeFileSync(join(folder, `${name}.index`), '');
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650', '-subj', `/CN=${name}`],
      ...['-keyout', `${name}.key`, '-out', `${name}.pem`],
    );
  }

  /** Signs a certificate. @param alternatives such as `DNS:localhost`, for servers */
  issue(commonName: string, alternatives: readonly string[] = []): CertificatePair {
    const file = `${this.name}-${commonName.replace(/\W/g, '_')}`;
    const extension = alternatives.length === 0 ? [] : ['-addext', `subjectAltName=${alternatives.join(',')}`];
    openssl(
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${commonName}`, ...extension],
      ...['-keyout', `${file}.key`, '-out', `${file}.csr`],
    );
    openssl(
      'ca',
      '-batch',
      '-config',
      `${this.name}.cnf`,
      '-cert',
      `${this.name}.pem`,
      '-keyfile',
      `${this.name}.key`,
      '-in',
      `${file}.csr`,
      '-out',
      `${file}.pem`,
      '-notext',
    );
    return { chain: join(folder, `${file}.pem`), key: join(folder, `${file}.key`) };
  }

  /** Revokes a certificate that it has signed. @returns the file of all that are revoked */
  revoke({ chain }: CertificatePair): string {
    const own = ['ca', '-config', `${this.name}.cnf`, '-cert', `${this.name}.pem`, '-keyfile', `${this.name}.key`];
    openssl(...own, '-revoke', chain);
    openssl(...own, '-gencrl', '-out', `${this.name}.crl`);
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
