/**
 * MemoryFile: content that a library can open by a name, though it lies on no disk. uWebSockets.js takes certificates by the names of their files, and reads them
 * whenever it makes another lane; by then the file may hold another certificate, half of one, or nothing.
 */
import { closeSync, writeSync } from 'node:fs';
import { library } from '../base/c-library.ts';

export class MemoryFile {
  readonly path: string;
  private readonly fd: number;

  /** @param otherwise name of the file on the disk, for platforms that have no such files */
  constructor(content: string, otherwise: string) {
    this.fd = library()?.memfd_create?.('onehop', 0) ?? -1;
    this.path = this.fd < 0 ? otherwise : `/proc/self/fd/${this.fd}`;
    if (this.fd >= 0) writeSync(this.fd, content);
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
  }
}
