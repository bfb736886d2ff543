/** Goal: every command of the HTTP reference can be run as it stands: its path and its body are filled in, nothing is encoded twice. Method: the page. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { z } from 'zod';
import { httpReferencePage } from '../../src/http/reference-page.ts';
import { allRoutes } from '../../src/http/routes.ts';

test('examples have what their route needs', () => {
  const commands = httpReferencePage()
    .split('\n')
    .filter((line) => line.startsWith('curl'));
  assert.ok(commands.length > 100);
  for (const command of commands) assert.doesNotMatch(command, /\{\w+(\.\.\.)?\}"|\{\w+\}\/|%25/, command);
  for (const { method, path, body, example } of allRoutes()) {
    if (body === null || body === 'bytes' || example?.body !== undefined) continue;
    assert.ok((body as z.ZodType).safeParse({}).success, `${method} ${path}: the body of its example is empty`);
  }
});
