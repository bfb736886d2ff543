/*
 * A child process of the test of the file of certificates: adds more than its disk takes, and prints the code of the error.
 */
import { CertificateFile } from '../../src/server/certificate-file.ts';

// A file that grows too large is an error, not a signal.
process.on('SIGXFSZ', () => {});
const file = new CertificateFile(process.argv[2]!);
const locked = file.lock(true)!;
file.catchUp(locked);
const removed = 'c'.repeat(64);
try {
  file.append(
    locked,
    Array.from({ length: 1000 }, () => ({ removed })),
  );
} catch (error) {
  process.stdout.write(`${(error as NodeJS.ErrnoException).code}\n`);
}
file.unlock(locked);
