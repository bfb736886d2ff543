/**
 * Writes docs/conformance.md from the data of test/conformance. Needs the build; an argument names another build folder than dist.
 */

import { writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = resolve(root, process.argv[2] ?? 'dist');
const { CONFORMANCE_DOCUMENT, conformanceDocument } = await import(pathToFileURL(join(build, 'test/conformance/document.js')).href);
writeFileSync(join(root, CONFORMANCE_DOCUMENT), conformanceDocument());
