/*
 * The fault layer as a test sees it: compiled, given to one process by its environment, and told at run time what is to fail. fault-layer.cpp says what it does
 * and how its control file is laid out.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, realpathSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** By number: what the control file says. */
const MODES = [
  'none',
  'write-error',
  'short-write',
  'sync-error',
  'no-space',
  'header-error',
  'no-room',
  'death',
  'renamed-death',
] as const;
export type FaultMode = (typeof MODES)[number];

const MODE_AT = 0;
const ONLY_AT = 8;
const MATCHED_AT = 16;
const INJECTED_AT = 24;
const WRITES_AT = 32;
const SYNCS_AT = 40;
const RESIZES_AT = 48;
const WAITS_AT = 56;
const LMDB_FAULTS_AT = 64;
const CONTROL_BYTES = 72;

const source = fileURLToPath(new URL('../../../test/faults/fault-layer.cpp', import.meta.url));

export class FaultLayer {
  /** Directory whose files are to fail: made, and empty. */
  readonly directory: string;
  /** What a process needs in its environment to be at the layer's mercy. */
  readonly environment: Readonly<Record<string, string>>;
  private readonly control: number;

  /** Compiles the layer into `folder`, which also gets the directory and the control file. */
  constructor(folder: string) {
    const root = realpathSync(folder);
    const library = join(root, 'fault-layer.so');
    const controlPath = join(root, 'fault-control');
    this.directory = join(root, 'data');
    mkdirSync(this.directory);
    const { status, error, stderr } = spawnSync('g++', [
      '-std=c++17',
      '-O1',
      '-Wall',
      '-Wextra',
      '-Werror',
      '-shared',
      '-fPIC',
      '-o',
      library,
      source,
      '-ldl',
    ]);
    if (status !== 0) throw new Error(`g++ cannot build the fault layer: ${error?.message ?? stderr.toString()}`);
    this.control = openSync(controlPath, 'w+');
    writeSync(this.control, Buffer.alloc(CONTROL_BYTES));
    const { LD_PRELOAD } = process.env;
    this.environment = {
      LD_PRELOAD: LD_PRELOAD === undefined ? library : `${library}:${LD_PRELOAD}`,
      FAULT_DIRECTORY: this.directory,
      FAULT_CONTROL: controlPath,
      // Calls that the kernel makes by itself pass no library.
      UV_USE_IO_URING: '0',
    };
  }

  /**
   * From now on calls fail: each that the mode is about, or only the `only`-th from now.
   * @param waits not before the next call that is not LMDB's: a commit of LMDB that has begun ends well
   */
  arm(mode: FaultMode, only = 0, waits = false): void {
    this.set(MODE_AT, 0);
    this.set(MATCHED_AT, 0);
    this.set(ONLY_AT, only);
    this.set(WAITS_AT, waits ? 1 : 0);
    this.set(MODE_AT, MODES.indexOf(mode));
  }

  /** The disk works again. */
  disarm(): void {
    this.set(MODE_AT, 0);
  }

  /** Calls that the mode has been about since it was armed. */
  get matched(): number {
    return this.get(MATCHED_AT);
  }

  /** Faults so far. */
  get injected(): number {
    return this.get(INJECTED_AT);
  }

  /** Writes of LMDB so far that were refused. */
  get lmdbFaults(): number {
    return this.get(LMDB_FAULTS_AT);
  }

  /** Calls so far that wrote to the directory, synced it, or changed the size of a file in it. */
  get writes(): number {
    return this.get(WRITES_AT);
  }

  get syncs(): number {
    return this.get(SYNCS_AT);
  }

  get resizes(): number {
    return this.get(RESIZES_AT);
  }

  close(): void {
    closeSync(this.control);
  }

  private set(at: number, value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    writeSync(this.control, bytes, 0, 8, at);
  }

  private get(at: number): number {
    const bytes = Buffer.alloc(8);
    readSync(this.control, bytes, 0, 8, at);
    return Number(bytes.readBigUInt64LE());
  }
}
