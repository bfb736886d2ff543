/**
 * Version of the package that this program runs from.
 */
import { createRequire } from 'node:module';

/** Such as `0.1.0`. */
export const VERSION: string = (createRequire(import.meta.url)('../../../package.json') as { version: string }).version;
