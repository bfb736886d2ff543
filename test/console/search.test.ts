/**
 * Goal: what somebody searches for, and how far they have got, stands in the address: a link, a reload and going back show the same.
 * Method: Debian's Chromium against a real broker with more messages, clients and events of a trace than one page holds.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { connect, type TestClient } from '../support/client.ts';
import { type HttpBroker, startHttpBroker, suite } from '../support/http.ts';
import { logIn, openConsole, startBrowser } from './browser.ts';

/** Two pages and a part of a third. */
const MESSAGES = 120;
const PAGE = 50;
/** How often is looked whether the history has all: it is written in batches. */
const LOOKS = 200;

let browser: Browser;
let broker: HttpBroker;
let meter: TestClient;
const all = suite();

before(async () => {
  browser = await startBrowser();
  broker = await startHttpBroker(all, { 'history.enabled': true, 'history.path': mkdtempSync(join(tmpdir(), 'onehop-search-')) });
  meter = await connect(broker.port, { clientId: 'meter-1' });
  for (let n = 0; n < MESSAGES; n++) await meter.publish(`meters/${n}`, `${n}`, { qos: 1 });
  for (let look = 0, kept = 0; kept < MESSAGES && look < LOOKS; look++)
    kept = (await broker.request('GET', '/api/v1/messages?filter=meters/%23&limit=1000', { role: 'viewer' })).json.data.length;
});
after(async () => {
  await meter.disconnect();
  await browser.close();
  await all.stop();
});

const rows = (page: Page, table: string): Locator => page.getByRole('table', { name: table, exact: true }).locator('tbody tr');

/** Topic in the first row, once the page with this number is there. */
async function firstTopic(page: Page, number: number): Promise<string> {
  await page.getByText(`Page ${number}`, { exact: true }).waitFor();
  await rows(page, 'Messages').first().waitFor();
  return (await rows(page, 'Messages').first().locator('td').nth(1).textContent()) ?? '';
}

test('the messages that were searched for, page by page', async (t) => {
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'operator');
  const { page } = opened;
  await opened.open('messages', 'Messages');
  await page.getByLabel('Topics that match the filter').fill('meters/+');
  await page.getByLabel('Publisher').fill('meter-1');
  await page.getByLabel('First').selectOption('oldest');
  await page.getByRole('button', { name: 'Search' }).click();
  assert.equal(await firstTopic(page, 1), 'meters/0');
  assert.equal(await rows(page, 'Messages').count(), PAGE);
  const next = page.getByRole('button', { name: 'Next' });
  await next.click();
  assert.equal(await firstTopic(page, 2), `meters/${PAGE}`);
  await next.click();
  assert.equal(await firstTopic(page, 3), `meters/${2 * PAGE}`);
  assert.equal(await rows(page, 'Messages').count(), MESSAGES - 2 * PAGE);
  assert.ok(await next.isDisabled());
  await page.reload();
  assert.equal(await firstTopic(page, 3), `meters/${2 * PAGE}`, 'the same after a reload');
  assert.equal(await page.getByLabel('Publisher').inputValue(), 'meter-1');
  assert.equal(await page.getByLabel('First').inputValue(), 'oldest');
  await page.goBack();
  assert.equal(await firstTopic(page, 2), `meters/${PAGE}`, 'back, as browsers go back');
  await rows(page, 'Messages').first().getByRole('link').click();
  await page.getByRole('heading', { level: 1, name: /^Message / }).waitFor();
  await page.getByRole('link', { name: 'Back to the messages' }).click();
  assert.equal(await firstTopic(page, 1), 'meters/0', 'the search is kept');
  await page.getByLabel('Publisher').fill('nobody');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('No message fits.').waitFor();
  await page.goBack();
  assert.equal(await firstTopic(page, 1), 'meters/0');
  assert.equal(await page.getByLabel('Publisher').inputValue(), 'meter-1', 'the fields follow the address');
  opened.quiet();
});

test('times are moments, whatever the clock of who opens the link', async (t) => {
  const opened = await openConsole(t, browser, broker, { timezoneId: 'Asia/Kolkata' });
  await logIn(opened, broker, 'operator');
  const { page } = opened;
  await opened.open('messages?from=2026-01-02T03:04:00.000Z&to=2026-01-02T03:04:30.000Z', 'Messages');
  await page.getByText('No message fits.').waitFor();
  assert.equal(await page.getByLabel('From').inputValue(), '2026-01-02T08:34');
  assert.equal(await page.getByLabel('Until').inputValue(), '2026-01-02T08:34:30');
  await page.getByLabel('From').fill('2026-01-02T08:30');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.waitForURL(({ hash }) => new URLSearchParams(hash.split('?')[1]).get('from') === '2026-01-02T03:00:00.000Z');
  opened.quiet();
});

test('clients are found while somebody types, and the address follows', async (t) => {
  const clients = await Promise.all(
    Array.from({ length: PAGE + 2 }, (_, n) => connect(broker.port, { clientId: `typed-${String(n).padStart(3, '0')}` })),
  );
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'viewer');
  const { page } = opened;
  await opened.open('clients', 'Clients');
  await page.getByLabel('Client ID begins with').pressSequentially('typed-');
  await page.waitForURL(/#\/clients\?prefix=typed-$/);
  assert.equal(await page.getByLabel('Client ID begins with').inputValue(), 'typed-');
  await rows(page, 'Clients')
    .nth(PAGE - 1)
    .waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('Page 2').waitFor();
  await rows(page, 'Clients').first().waitFor();
  assert.equal(await rows(page, 'Clients').count(), 2);
  await page.reload();
  await page.getByText('Page 2').waitFor();
  assert.equal(await page.getByLabel('Client ID begins with').inputValue(), 'typed-');
  // The cursor of a page before is not known after a reload, but the first needs none.
  await page.getByRole('button', { name: 'Back' }).click();
  await rows(page, 'Clients')
    .nth(PAGE - 1)
    .waitFor();
  await page.getByLabel('State').selectOption('disconnected');
  await page.getByText('No client fits.').waitFor();
  assert.match(await page.evaluate<string>('location.hash'), /prefix=typed-&state=disconnected$/, 'another search begins at its beginning');
  await page.getByRole('navigation', { name: 'Pages', exact: true }).getByRole('link', { name: 'Clients' }).click();
  await page.waitForURL(/#\/clients$/);
  await rows(page, 'Clients')
    .nth(PAGE - 1)
    .waitFor();
  assert.equal(await page.getByLabel('Client ID begins with').inputValue(), '');
  await Promise.all(clients.map((client) => client.disconnect()));
  opened.quiet();
});

test('the events of a trace, page by page and of one message', async (t) => {
  const begun = await broker.request('POST', '/api/v1/traces', { role: 'operator', body: { clientId: 'meter-1', seconds: 600 } });
  const id = begun.json.id as string;
  for (let n = 0; n < MESSAGES; n++) await meter.publish(`traced/${n}`, '', { qos: 1 });
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'operator');
  const { page } = opened;
  await opened.open(`traces/${id}`, `Trace ${id}`);
  const events = rows(page, 'Events of the trace');
  await page.getByText(/^Page 1, \d+ in all$/).waitFor();
  await events.nth(99).waitFor();
  const afterOf = async (row: number): Promise<number> =>
    Number.parseFloat(((await events.nth(row).locator('td').nth(1).textContent()) ?? '').slice(1));
  const last = await afterOf(99);
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText(/^Page 2, /).waitFor();
  await events.first().waitFor();
  assert.ok((await afterOf(0)) >= last, 'time goes on where the page before ended');
  await page.getByRole('button', { name: 'End it now' }).click();
  await page.getByText('ended', { exact: true }).waitFor();
  const option = await page.getByLabel('Of the message').locator('option').nth(1).textContent();
  await page.getByLabel('Of the message').selectOption(option!);
  await page.waitForURL(({ hash }) => hash.endsWith(`messageId=${option}`));
  await page.getByText(/^Page 1, [1-9] in all$/).waitFor();
  await page.reload();
  await page.getByText(/^Page 1, [1-9] in all$/).waitFor();
  assert.equal(await page.getByLabel('Of the message').inputValue(), option);
  assert.equal(await page.locator('.timeline .event .name').first().textContent(), 'published');
  assert.deepEqual(await opened.accessibilityFaults(), []);
  await page.goBack();
  await page.getByText(/^Page 2, /).waitFor();
  opened.quiet();
});
