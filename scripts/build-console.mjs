/**
 * Builds the console, the application for browsers below `src/console`, into `dist/console`: hashed files, each beside a packed copy of it, so that a shard of
 * the broker never packs anything for somebody who is not logged in.
 *
 * Nothing in the page is inline, because the broker's Content-Security-Policy forbids it, and nothing is fetched from elsewhere.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, gzipSync } from 'node:zlib';
import { build } from 'vite';

const root = fileURLToPath(new URL('../src/console/', import.meta.url));
const outDir = fileURLToPath(new URL('../dist/console/', import.meta.url));
/** All scripts of the console together, packed. */
const SCRIPT_BYTES_MAX = 250 * 1024;

await build({
  root,
  configFile: false,
  envDir: false,
  base: '/console/',
  logLevel: 'warn',
  publicDir: 'public',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir,
    emptyOutDir: true,
    target: 'es2022',
    // Pictures in the page itself (data:) would need an exception in the policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
  },
});

let scriptBytes = 0;
for (const name of readdirSync(outDir, { recursive: true })) {
  const path = join(outDir, name);
  if (!statSync(path).isFile()) continue;
  const packed = gzipSync(readFileSync(path), { level: constants.Z_BEST_COMPRESSION });
  if (name.endsWith('.js')) scriptBytes += packed.length;
  writeFileSync(`${path}.gz`, packed);
}
if (scriptBytes > SCRIPT_BYTES_MAX) {
  console.error(`build-console: the scripts have ${scriptBytes} bytes packed; ${SCRIPT_BYTES_MAX} are allowed`);
  process.exit(1);
}
