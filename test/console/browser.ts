/**
 * A browser for tests of the console: Debian's Chromium, driven by Playwright. Whatever a page must never do is written down while it is used, and `quiet` fails on it:
 * errors, what the Content-Security-Policy has refused, and requests to anybody but the broker.
 */
import assert from 'node:assert/strict';
import { accessSync, constants, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import type { Role } from '../../src/http/role.ts';
import type { HttpBroker } from '../support/http.ts';

/** Longest wait for one thing in a page. */
const DEADLINE_MILLISECONDS = 10_000;

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

function programPath(name: string): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Elsewhere, then.
    }
  }
  throw new Error(`${name} is not installed: apt-get install ${name}`);
}

/** One for a file of tests; each test has pages of its own in it. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: programPath('chromium'),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
}

export interface ConsolePage {
  readonly page: Page;
  /** Goes to a page of the console, and waits until its heading is there. */
  open(place: string, heading: string): Promise<void>;
  /** Fails when the page has done what it must not. */
  quiet(): void;
  /** Resolves with the first thing that `quiet` will fail on. */
  noticed(): Promise<void>;
  /** What axe-core finds wrong for people who use a keyboard, a screen reader or few colours. @param rules only these; absent: all */
  accessibilityFaults(rules?: readonly string[]): Promise<string[]>;
}

/** A page of its own, with nothing kept from others; it is closed with the test. */
export async function openConsole(
  t: TestContext,
  browser: Browser,
  broker: HttpBroker,
  options: BrowserContextOptions = {},
): Promise<ConsolePage> {
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce', ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(DEADLINE_MILLISECONDS);
  const page = await context.newPage();
  const faults: string[] = [];
  let notice = (): void => {};
  const first = new Promise<void>((resolve) => {
    notice = resolve;
  });
  const fault = (text: string): void => {
    faults.push(text);
    notice();
  };
  page.on('pageerror', (error) => fault(`error: ${error.message}`));
  page.on('console', (message) => {
    // The browser itself says this of every answer from 400 up; which of them may come is for the tests.
    if (['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource'))
      fault(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${broker.url}/`) && !url.startsWith('data:')) fault(`request to ${url}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 500 && response.status() !== 501 && response.status() !== 504)
      fault(`${response.status()} from ${response.url()}`);
  });
  await page.goto(`${broker.url}/console/`);
  return {
    page,
    open: async (place, heading) => {
      await page.evaluate(`location.hash = ${JSON.stringify(`#/${place}`)}`);
      await page.getByRole('heading', { level: 1, name: heading }).waitFor();
    },
    noticed: () => first,
    quiet: () => assert.deepEqual(faults, []),
    accessibilityFaults: async (rules) => {
      const only = rules === undefined ? '' : `, runOnly: ${JSON.stringify(rules)}`;
      if (!(await page.evaluate('"axe" in globalThis'))) await page.evaluate(`${axe}; undefined`);
      return page.evaluate(
        `axe.run(document, { resultTypes: ['violations']${only} }).then(({ violations }) =>
          violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => id + ': ' + help + ': ' + target + ': ' + failureSummary)))`,
      );
    },
  };
}

/** Logs in with the key of a role. */
export async function logIn({ page }: ConsolePage, broker: HttpBroker, role: Role): Promise<void> {
  await page.getByLabel('API key or token').fill(broker.keys[role]);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('button', { name: 'Log out' }).waitFor();
}
