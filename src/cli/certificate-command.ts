/**
 * The commands of `onehop certificate` and their options; what they do is in `certificate.ts`, which is loaded when one is called.
 */
import { type Command, Option } from 'commander';
import type { AddOptions, CaOptions, ListOptions } from './certificate.ts';
import { example } from './example.ts';

/** Adds them to the program. */
export function certificateCommands(root: Command): void {
  const certificate = root.command('certificate').description('Say which certificates of devices are good, and who may sign them.');
  const file = ['--file <file>', 'registry; else ONEHOP_CERTIFICATES_FILE, else ./certificates.jsonl'] as const;
  const id = ['<id>', 'serial number, or SHA-256 fingerprint'] as const;
  certificate.addHelpText('after', example('onehop certificate list --status PENDING_ACTIVATION'));
  authorityCommands(certificate, file, id);

  certificate
    .command('add')
    .description('Register the certificate of a device, active at once.')
    .requiredOption('--certificate <file>', 'the certificate, in PEM')
    .option('--client-id <id>', 'the one that it is good for; otherwise any that belongs to no other certificate')
    .option('--share', 'let it have a client ID that another active certificate has')
    .option(...file)
    .addHelpText('after', example('onehop certificate add --certificate pump-7.pem --client-id pump-7'))
    .action(async (options: AddOptions) => {
      const { addCertificate } = await import('./certificate.ts');
      addCertificate(options);
    });

  certificate
    .command('list')
    .description('Say which certificates of devices are registered.')
    .option('--client-id <id>', 'those that are good for this one')
    .addOption(new Option('--status <status>', 'those of one status').choices(['ACTIVE', 'INACTIVE', 'REVOKED', 'PENDING_ACTIVATION']))
    .option('--ca <id>', 'those of one authority, by its serial number or fingerprint')
    .option('--cn <name>', 'those with this Common Name')
    .option('--ou <name>', 'those with this Organizational Unit')
    .option('--expires-before <day>', 'those that end before this day')
    .option('--json', 'as JSON')
    .option(...file)
    .addHelpText('after', example('onehop certificate list --expires-before 2030-01-31'))
    .action(async (options: ListOptions) => {
      const { listCertificates } = await import('./certificate.ts');
      listCertificates(options);
    });

  const statuses = [
    ['activate', 'ACTIVE', 'Let a certificate in.'],
    ['deactivate', 'INACTIVE', 'Keep a certificate out until it is activated. Its clients are disconnected.'],
    ['revoke', 'REVOKED', 'Keep a certificate out for good. Its clients are disconnected.'],
  ] as const;
  for (const [name, status, description] of statuses) {
    const command = certificate
      .command(name)
      .description(description)
      .argument(...id)
      .option(...file);
    if (status === 'ACTIVE') command.option('--share', 'let it have a client ID that another active certificate has');
    command
      .addHelpText('after', example(`onehop certificate ${name} 3F2A`))
      .action(async (certificateId: string, options: { file?: string; share?: boolean }) => {
        const { setCertificate } = await import('./certificate.ts');
        setCertificate(certificateId, status, options);
      });
  }

  certificate
    .command('remove')
    .description('Take a certificate out of the registry. Its clients are disconnected.')
    .argument(...id)
    .option(...file)
    .addHelpText('after', example('onehop certificate remove 3F2A'))
    .action(async (certificateId: string, options: { file?: string }) => {
      const { removeCertificate } = await import('./certificate.ts');
      removeCertificate(certificateId, options);
    });
}

function authorityCommands(certificate: Command, file: readonly [string, string], id: readonly [string, string]): void {
  certificate
    .command('ca-code')
    .description('Make the code by which the owner of an authority shows that he has its key. It counts once, for a day.')
    .option(...file)
    .addHelpText('after', example('onehop certificate ca-code'))
    .action(async (options: { file?: string }) => {
      const { caCode } = await import('./certificate.ts');
      caCode(options);
    });

  certificate
    .command('ca-add')
    .description('Register an authority, which signs certificates of devices.')
    .requiredOption('--ca <file>', 'its certificate, in PEM')
    .requiredOption('--verification <file>', 'a certificate that it has signed, with the code as Common Name, in PEM')
    .option('--auto-register', 'register its certificates when they come for the first time')
    .option('--auto-activate', 'and let them in at once')
    .option('--inactive', 'do not let its certificates in yet')
    .option(...file)
    .addHelpText('after', example('onehop certificate ca-add --ca fleet-ca.pem --verification proof.pem --auto-register'))
    .action(async (options: CaOptions) => {
      const { addCa } = await import('./certificate.ts');
      addCa(options);
    });

  certificate
    .command('ca-list')
    .description('Say which authorities are registered.')
    .option('--json', 'as JSON')
    .option(...file)
    .addHelpText('after', example('onehop certificate ca-list'))
    .action(async (options: { file?: string; json?: boolean }) => {
      const { listCas } = await import('./certificate.ts');
      listCas(options);
    });

  const statuses = [
    ['ca-activate', 'ACTIVE', 'Let the certificates of an authority in.'],
    ['ca-deactivate', 'INACTIVE', 'Keep the certificates of an authority out. Their clients are disconnected.'],
  ] as const;
  for (const [name, status, description] of statuses) {
    const command = certificate
      .command(name)
      .description(description)
      .argument(...id)
      .option(...file);
    if (status === 'ACTIVE') {
      command
        .option('--auto-register', 'from now on register its certificates when they come')
        .option('--no-auto-register', 'do so no more');
      command.option('--auto-activate', 'from now on let them in at once').option('--no-auto-activate', 'do so no more');
    }
    command
      .addHelpText('after', example(`onehop certificate ${name} 3F2A`))
      .action(async (authority: string, options: { file?: string; autoRegister?: boolean; autoActivate?: boolean }) => {
        const { setCa } = await import('./certificate.ts');
        setCa(authority, status, options);
      });
  }

  certificate
    .command('ca-remove')
    .description('Take an authority out of the registry.')
    .argument(...id)
    .option('--with-certificates', 'also the certificates that it has signed')
    .option(...file)
    .addHelpText('after', example('onehop certificate ca-remove 3F2A'))
    .action(async (authority: string, options: { file?: string; withCertificates?: boolean }) => {
      const { removeCa } = await import('./certificate.ts');
      removeCa(authority, options);
    });
}
