/**
 * Takes the pictures of the manual, docs/console/*.png, of a real broker with real clients: `npm run docs:console`. It is run by people, when the console looks different.
 */
import { mkdirSync, statSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Locator, Page } from 'playwright-core';
import { connect } from '../support/client.ts';
import { logIn, openConsole, startBrowser } from './browser.ts';
import { startScene } from './scene.ts';

const BYTES_MAX = 150 * 1024;
const folder = fileURLToPath(new URL('../../../docs/console/', import.meta.url));
const DESKTOP = { width: 1180, height: 760 };
const PHONE = { width: 390, height: 740 };
/** How long the charts have something to draw, in messages and pauses between them. */
const BURSTS = 12;
const BURST = 400;

/** @param of a page, or what is to be seen of it */
async function take(of: Page | Locator, name: string): Promise<void> {
  const path = `${folder}${name}.png`;
  await of.screenshot({ path, animations: 'disabled' });
  const { size } = statSync(path);
  process.stdout.write(`${name}.png: ${size} bytes\n`);
  if (size > BYTES_MAX) throw new Error(`${name}.png is larger than ${BYTES_MAX} bytes`);
}

const ends: (() => unknown)[] = [];
const t = { after: (end: () => unknown) => ends.push(end) } as unknown as TestContext;
try {
  mkdirSync(folder, { recursive: true });
  const browser = await startBrowser();
  ends.push(() => browser.close());
  const broker = await startScene(t);
  const device = await connect(broker.port, { clientId: 'valve-7' });
  const meter = await connect(broker.port, { clientId: 'meter-1' });
  await device.subscribe('meters/#', { qos: 1 });
  const desktop = await openConsole(t, browser, broker, { viewport: DESKTOP, colorScheme: 'light' });
  await logIn(desktop, broker, 'admin');
  const { page } = desktop;

  // Each answer of the samples is five seconds younger than the one before.
  for (let burst = 0; burst < BURSTS; burst++) {
    const answered = page.waitForResponse(/\/api\/v1\/samples/);
    for (let message = 0; message < BURST * (1 + (burst % 3)); message++)
      await meter.publish('meters/1', '{"kWh": 12.5}', { qos: message % 10 === 0 ? 1 : 0 });
    await answered;
  }
  await desktop.open('overview', 'Overview');
  await page.getByLabel('Show').selectOption('60');
  await page.locator('.chart canvas').first().waitFor();
  await take(page, 'overview');

  await desktop.open('clients/pump-1', 'pump-1');
  await page.getByRole('table', { name: 'Subscriptions of the client' }).waitFor();
  await take(page, 'client');

  await desktop.open('send', 'Send to a device');
  await page.getByLabel('Client ID').fill('valve-7');
  await page.getByLabel('Message').fill('{"open": 40}');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await page.locator('.outcome article.good').waitFor();
  await take(page, 'send');

  await desktop.open('policies', 'Policies');
  await page.getByLabel('Client ID').fill('pump-1');
  await page.getByLabel('Topic', { exact: true }).fill('pumps/1/state');
  await page.getByRole('button', { name: 'Test' }).click();
  await page.locator('.outcome article').waitFor();
  await take(page, 'policies');

  await page.getByRole('button', { name: 'Add' }).click();
  const statement = page.getByRole('form', { name: 'Statement' });
  await statement.getByLabel('Name', { exact: true }).fill('own-topics');
  for (const action of ['publish', 'subscribe']) await statement.getByLabel(action, { exact: true }).check();
  await statement.getByLabel('Topics', { exact: true }).fill('fleet/${ClientId}/#');
  await statement.getByLabel('Attributes of the client', { exact: true }).fill('group: pumps');
  await page.getByRole('heading', { name: 'New statement' }).scrollIntoViewIfNeeded();
  // Without the page behind it, whose blur makes pictures large.
  await take(page.locator('dialog article'), 'statement');
  await page.keyboard.press('Escape');

  await desktop.open('broker', 'Broker');
  await page.getByLabel('Show').selectOption('live');
  await page.getByRole('button', { name: 'Change quotas.client.messagesIn', exact: true }).click();
  await page.getByLabel('messagesIn', { exact: true }).selectOption('limit');
  await page.getByLabel('messagesIn per second').fill('50');
  await take(page.locator('dialog article'), 'configuration');
  await page.keyboard.press('Escape');

  await desktop.open('traces', 'Traces');
  await page.getByRole('button', { name: 'Add' }).click();
  await page.getByLabel('Messages', { exact: true }).selectOption('filter');
  await page.getByLabel('Filter', { exact: true }).fill('meters/#');
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByRole('heading', { level: 1, name: /^Trace / }).waitFor();
  await meter.publish('meters/1', '{"kWh": 12.6}', { qos: 1 });
  await page.locator('.timeline .acknowledged').first().waitFor();
  await page.locator('.notice').first().waitFor({ state: 'detached' });
  await take(page, 'trace');

  const phone = await openConsole(t, browser, broker, { viewport: PHONE, colorScheme: 'dark', deviceScaleFactor: 1 });
  await logIn(phone, broker, 'viewer');
  await phone.page.locator('.chart canvas').first().waitFor();
  await take(phone.page, 'phone');
} finally {
  for (const end of ends) await end();
}
