/**
 * Goal: somebody who sends to a device for the first time sees what became of the message, whatever that is, and can do all of it by keyboard.
 * Method: Debian's Chromium against a real broker with real devices, which answer, do not answer, or are not there.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { connect, payloadText } from '../support/client.ts';
import { type HttpBroker, startHttpBroker, suite } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { logIn, openConsole, startBrowser } from './browser.ts';

const SHARDS = 2;

let browser: Browser;
let broker: HttpBroker;
const all = suite();

before(async () => {
  browser = await startBrowser();
  broker = await startHttpBroker(all, {
    shards: SHARDS,
    'p2p.mailbox.enabled': true,
    'authorization.statements': [
      { effect: 'deny', resource: 'p2p', actions: ['publish'], targets: ['secret-*'] },
      { effect: 'allow', resource: 'p2p', actions: ['publish'] },
      { effect: 'allow', actions: ['connect', 'publish', 'subscribe'] },
    ],
  });
});
after(async () => {
  await browser.close();
  await all.stop();
});

const send = (page: Page): Promise<void> => page.getByRole('button', { name: 'Send', exact: true }).click();

/** The outcome that is shown, once it is one of this kind. */
async function outcome(page: Page, title: string): Promise<string> {
  const article = page.locator('.outcome article', { hasText: title });
  await article.waitFor();
  return (await article.textContent()) ?? '';
}

test('a message to a device, with its receipt, and without', async (t) => {
  const device = await connect(broker.port, { clientId: clientIdOn(0, SHARDS, 'device') });
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'service');
  const { page } = opened;
  await page.getByLabel('Client ID').fill(device.clientId);
  await page.getByLabel('Message').fill('open the valve');
  await send(page);
  assert.equal(payloadText(await device.next()), 'open the valve');
  assert.match(await outcome(page, 'Acknowledged'), /Acknowledged after \d+ ms.*has received the message/);
  assert.equal(await page.getByRole('link', { name: 'The client' }).count(), 0, 'a service sees no clients');
  // QoS 0 has no acknowledgement, so nothing is waited for.
  await page.getByLabel('QoS').selectOption('0');
  assert.ok(await page.getByLabel('Wait for the receipt of the device').isDisabled());
  assert.ok(await page.getByLabel('Wait for at most').isDisabled());
  await send(page);
  assert.equal((await device.next()).qos, 0);
  assert.match(await outcome(page, 'Delivered'), /on its way to it/);
  await page.getByLabel('Written as').selectOption('hex');
  await page.getByLabel('Message').fill('00 f');
  await send(page);
  await page.getByText('Bytes are two hexadecimal digits each').waitFor();
  assert.equal(await page.getByLabel('Message').getAttribute('aria-invalid'), 'true');
  await page.getByLabel('Message').fill('00 FF\n10');
  await send(page);
  assert.deepEqual([...(await device.next()).payload], [0, 255, 16]);
  await page.getByLabel('Written as').selectOption('json');
  await page.getByLabel('Message').fill('{"open": }');
  await send(page);
  await page.getByText('This is no JSON').waitFor();
  assert.equal(await page.getByRole('table', { name: 'Sent from here' }).locator('tbody tr').count(), 3, 'what was not sent is not listed');
  assert.deepEqual(await opened.accessibilityFaults(), []);
  await device.disconnect();
  opened.quiet();
});

test('whatever keeps a message from a device is said in words', async (t) => {
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'admin');
  const { page } = opened;
  const silent = await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'silent'), autoAck: false });
  await opened.open(`send?clientId=${silent.clientId}`, 'Send to a device');
  assert.equal(await page.getByLabel('Client ID').inputValue(), silent.clientId, 'whom a link names');
  await page.getByLabel('Wait for at most').fill('1');
  await send(page);
  await page.locator('.outcome', { hasText: /Waiting for .* 0\.\d s/ }).waitFor();
  assert.match(await outcome(page, 'No receipt in time'), /it may still arrive.*It went to the connected device/);
  await page.getByRole('link', { name: 'The client' }).click();
  await page.getByRole('heading', { level: 1, name: silent.clientId }).waitFor();
  await silent.destroy();

  await opened.open('send', 'Send to a device');
  await page.getByLabel('Client ID').fill('nobody-at-all');
  await page.getByLabel('Only if it is connected').check();
  await send(page);
  assert.match(await outcome(page, 'No session'), /Nothing was kept/);
  const away = await connect(broker.port, { clientId: 'away-1', properties: { sessionExpiryInterval: 60 } });
  await away.disconnect();
  await page.getByLabel('Client ID').fill('away-1');
  await send(page);
  assert.match(await outcome(page, 'Not connected'), /Nothing was kept/);
  await page.getByLabel('Client ID').fill('nobody-at-all');
  await page.getByLabel('Only if it is connected').uncheck();
  await page.getByLabel('Wait for the receipt of the device').uncheck();
  await page.getByLabel('Expires after').fill('60');
  await send(page);
  assert.match(await outcome(page, 'In the mailbox'), /until it connects for the first time/);
  const { json } = await broker.request('GET', '/api/v1/mailboxes', { role: 'viewer' });
  assert.equal(json.data[0].clientId, 'nobody-at-all');
  await page.getByLabel('Client ID').fill('pump-1');
  await page.getByLabel('Topic').fill('with/+/wildcard');
  await send(page);
  assert.match(await outcome(page, 'Not sent'), /The broker says: the topic holds \+ or #/);
  // Operators are superusers; services are judged.
  const service = await openConsole(t, browser, broker);
  await logIn(service, broker, 'service');
  await service.page.getByLabel('Client ID').fill('secret-1');
  await send(service.page);
  assert.match(await outcome(service.page, 'Not allowed'), /The broker says: the statements do not allow/);
  service.quiet();
  opened.quiet();
});

test('clients are offered, and the keyboard is enough', async (t) => {
  const device = await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'keyboard'), autoAck: false });
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'operator');
  const { page } = opened;
  const { keyboard } = page;
  await opened.open('send', 'Send to a device');
  await keyboard.press('/');
  await keyboard.type('keyb');
  await page.locator(`datalist option[value="${device.clientId}"]`).waitFor({ state: 'attached' });
  await keyboard.type(device.clientId.slice('keyb'.length));
  await page.waitForURL(({ hash }) => hash.endsWith(`clientId=${device.clientId}`));
  const isInMessage = async (): Promise<boolean> => (await page.evaluate('document.activeElement.tagName')) === 'TEXTAREA';
  for (let steps = 0; steps < 9 && !(await isInMessage()); steps++) await keyboard.press('Tab');
  await keyboard.type('two\nlines');
  await keyboard.press('Control+Enter');
  assert.equal(payloadText(await device.next()), 'two\nlines');
  await page.getByRole('button', { name: 'Do not wait' }).waitFor();
  await keyboard.press('Control+Enter');
  await keyboard.press('Escape');
  assert.match(await outcome(page, 'Not waited for'), /The message was sent/);
  assert.ok(await isInMessage(), 'the focus stays');
  assert.equal(await page.getByRole('table', { name: 'Sent from here' }).count(), 0, 'it was sent once');
  await device.destroy();
  opened.quiet();
});

test('a broker that does not answer has said nothing', async (t) => {
  const opened = await openConsole(t, browser, broker);
  await logIn(opened, broker, 'service');
  const { page } = opened;
  await page.route('**/v1/clients/*/messages*', (route) => route.abort());
  await page.getByLabel('Client ID').fill('device-1');
  await send(page);
  const text = await outcome(page, 'No answer');
  assert.match(text, /The broker does not answer\. Whether the message was sent is not known\./);
  assert.doesNotMatch(text, /The broker says/);
  opened.quiet();
});
