/**
 * Goal: an operator sees and steers the broker from a browser: whoever logs in, finds a client, writes to it and hears of its receipt, with a mouse, a keyboard, a
 * phone, in the dark; and the pages do nothing that they must not.
 * Method: Debian's Chromium against a real broker with real clients. Every test ends with `quiet`: no error, nothing that the policy refuses, no request elsewhere.
 */
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { connect, payloadText } from '../support/client.ts';
import type { HttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { until } from '../support/until.ts';
import { type ConsolePage, logIn, openConsole, startBrowser } from './browser.ts';
import { SHARDS, startScene } from './scene.ts';

const PHONE = { width: 390, height: 740 };

let browser: Browser;
let broker: HttpBroker;
const ends: (() => unknown)[] = [];

/** Every page of the console, with its heading. */
const PAGES = [
  ['overview', 'Overview'],
  ['clients', 'Clients'],
  ['send', 'Send to a device'],
  ['subscriptions', 'Subscriptions'],
  ['retained', 'Kept messages'],
  ['topics', 'Topics'],
  ['messages', 'Messages'],
  ['traces', 'Traces'],
  ['alarms', 'Alarms'],
  ['users', 'Users'],
  ['policies', 'Policies'],
  ['block-rules', 'Block rules'],
  ['devices', 'Devices'],
  ['certificates', 'Certificates'],
  ['api-keys', 'API keys'],
  ['listeners', 'Listeners'],
  ['broker', 'Broker'],
  ['audit', 'Audit log'],
] as const;

before(async () => {
  browser = await startBrowser();
  ends.push(() => browser.close());
  broker = await startScene({ after: (end: () => unknown) => ends.push(end) } as unknown as TestContext);
});
after(async () => {
  for (const end of ends) await end();
});

async function inside(t: TestContext, role: 'service' | 'viewer' | 'operator' | 'admin' = 'admin', options = {}): Promise<ConsolePage> {
  const opened = await openConsole(t, browser, broker, options);
  await logIn(opened, broker, role);
  return opened;
}

/** Text of the first element that fits, when it has some. */
function said(page: Page, text: string | RegExp): Promise<void> {
  return page.getByText(text).first().waitFor();
}

async function confirm(page: Page, action: string): Promise<void> {
  await page.getByRole('dialog').getByRole('button', { name: action, exact: true }).click();
}

describe('logging in', () => {
  test('with a wrong key, then with a right one, and out again', async (t) => {
    const opened = await openConsole(t, browser, broker);
    const { page } = opened;
    const key = page.getByLabel('API key or token');
    await key.fill('ohk_testadmin_wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await said(page, 'does not know this key');
    await logIn(opened, broker, 'operator');
    await said(page, 'api key testoperator');
    assert.equal(await page.evaluate('Object.keys(localStorage).length'), 0, 'credentials end with the tab');
    await page.reload();
    await said(page, 'api key testoperator');
    await page.getByRole('button', { name: 'Log out' }).click();
    await key.waitFor();
    assert.equal(await page.evaluate('Object.keys(sessionStorage).length'), 0);
    opened.quiet();
  });

  test('with a name and a password', async (t) => {
    const opened = await openConsole(t, browser, broker);
    const { page } = opened;
    await page.getByLabel('Log in with').selectOption('password');
    await page.getByLabel('Name', { exact: true }).fill('root');
    await page.getByLabel('Password').fill('naïve secret');
    await page.getByRole('button', { name: 'Log in' }).click();
    await said(page, 'user root');
    opened.quiet();
  });

  test('nobody sees what the role may not do', async (t) => {
    const service = await inside(t, 'service');
    assert.deepEqual(await service.page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allInnerTexts(), ['Send to a device']);
    service.quiet();
    const viewer = await inside(t, 'viewer');
    await viewer.open('clients', 'Clients');
    await viewer.page.getByRole('link', { name: 'pump-1' }).waitFor();
    assert.equal(await viewer.page.getByRole('button', { name: /Disconnect/ }).count(), 0);
    await viewer.open('api-keys', 'API keys');
    await said(viewer.page, 'testadmin');
    assert.equal(await viewer.page.getByRole('button', { name: /Add|Remove/ }).count(), 0);
    viewer.quiet();
  });
});

describe('what runs', () => {
  test('the overview draws', async (t) => {
    const opened = await inside(t, 'viewer');
    const { page } = opened;
    await page
      .locator('.figures div', { hasText: 'Clients connected' })
      .locator('dd', { hasText: /^[1-9]/ })
      .waitFor();
    await page.locator('.chart canvas').first().waitFor();
    // Something is drawn: not all points of the picture are alike.
    await page.waitForFunction(`(() => {
      const canvas = document.querySelector('.chart canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, index) => index % 4 === 3 && value > 0);
    })()`);
    assert.equal(await page.getByRole('meter').count(), SHARDS);
    opened.quiet();
  });

  test('the lines of many shards have colours of their own', async (t) => {
    const opened = await inside(t, 'viewer');
    const { page } = opened;
    const values = Object.fromEntries(Array.from({ length: 8 }, (_, shard) => [`loadPercent/${shard}`, [shard, shard]]));
    await page.route('**/api/v1/samples*', (route) =>
      route.fulfill({ json: { intervalSeconds: 5, until: new Date().toISOString(), series: values } }),
    );
    await page.getByLabel('Show').selectOption('60');
    await page.getByText('shard 7: 7 %').waitFor();
    const colors = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.legend li')].map((one) => getComputedStyle(one, '::before').backgroundColor)`,
    );
    assert.equal(new Set(colors).size, 8, String(colors));
    opened.quiet();
  });

  test('a client is found, subscribed on its behalf, and kicked', async (t) => {
    const clientId = clientIdOn(1, SHARDS, 'found/');
    const client = await connect(broker.port, { clientId });
    const opened = await inside(t, 'operator');
    const { page } = opened;
    await opened.open('clients', 'Clients');
    await page.getByLabel('Client ID begins with').fill('found/');
    await page.getByRole('link', { name: clientId }).click();
    await page.getByRole('heading', { level: 1, name: clientId }).waitFor();
    await said(page, 'MQTT 5.0');
    await page.getByLabel('Subscribe it to').fill('console/+/x');
    await page.getByRole('button', { name: 'Subscribe', exact: true }).click();
    await page.getByRole('button', { name: 'Unsubscribe from console/+/x' }).waitFor();
    const other = await connect(broker.port, { clientId: 'publisher' });
    await other.publish('console/1/x', 'it is subscribed', { qos: 1 });
    assert.equal(payloadText(await client.next()), 'it is subscribed');
    await page.getByRole('button', { name: 'Unsubscribe from console/+/x' }).click();
    await confirm(page, 'Unsubscribe');
    await said(page, 'It has no subscription.');
    const lately = page.getByRole('region', { name: 'Lately' });
    for (const name of [/ subscribed console\/\+\/x /, / unsubscribed console\/\+\/x /, / connected .*127\.0\.0\.1/])
      await lately.getByRole('row', { name }).waitFor();
    const closed = client.closed;
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await confirm(page, 'Disconnect');
    await closed;
    await said(page, `${clientId} is disconnected`);
    await other.disconnect();
    opened.quiet();
  });

  test('a retained message is shown and deleted', async (t) => {
    const client = await connect(broker.port, { clientId: 'keeper' });
    await client.publish('console/kept', '<b>not bold</b>', { qos: 1, retain: true });
    const opened = await inside(t, 'operator');
    const { page } = opened;
    await opened.open('retained', 'Kept messages');
    await page.getByLabel('Topics that match the filter').fill('console/#');
    await page.getByRole('button', { name: 'Show console/kept' }).click();
    await page.getByRole('dialog').getByText('<b>not bold</b>').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Delete console/kept' }).click();
    await confirm(page, 'Delete');
    await said(page, 'Nothing is retained for console/kept any more');
    await client.disconnect();
    opened.quiet();
  });

  test('a published message is found, and its way is drawn', async (t) => {
    const opened = await inside(t, 'operator');
    const { page } = opened;
    await opened.open('traces', 'Traces');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByLabel('Messages', { exact: true }).selectOption('filter');
    await page.getByLabel('Filter', { exact: true }).fill('traced/#');
    await page.getByRole('button', { name: 'Begin' }).click();
    await page.getByRole('heading', { level: 1, name: /^Trace / }).waitFor();
    const [a, b] = [clientIdOn(0, SHARDS, 'trace'), clientIdOn(1, SHARDS, 'trace')];
    const subscriber = await connect(broker.port, { clientId: b });
    await subscriber.subscribe('traced/#', { qos: 1 });
    const publisher = await connect(broker.port, { clientId: a });
    await publisher.publish('traced/x', 'where does it go', { qos: 1 });
    assert.equal(payloadText(await subscriber.next()), 'where does it go');
    await page.locator('.timeline .acknowledged').first().waitFor();
    const events = await page.locator('.timeline .event .name').allTextContents();
    assert.equal(events[0], 'published');
    await opened.open('messages', 'Messages');
    await page.getByLabel('Topics that match the filter').fill('traced/#');
    const link = page.getByRole('table', { name: 'Messages' }).getByRole('link');
    // The history is written in batches.
    for (let tries = 0; tries < 20 && (await link.count()) === 0; tries++) {
      const answered = page.waitForResponse(/\/api\/v1\/messages/);
      await page.getByRole('button', { name: 'Search' }).click();
      await answered;
    }
    await link.first().click();
    await said(page, 'where does it go');
    await page.locator('.timeline .delivered').first().waitFor();
    await publisher.disconnect();
    await subscriber.disconnect();
    opened.quiet();
  });
});

describe('who may do what', () => {
  test('the tester says which statement decides, and statements are added and moved', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    const verdict = async (topic: string): Promise<string> => {
      await page.getByLabel('Topic', { exact: true }).fill(topic);
      const answered = page.waitForResponse(/policies\/test/);
      await page.getByRole('button', { name: 'Test' }).click();
      await answered;
      return (await page.locator('.outcome article').textContent()) ?? '';
    };
    await page.getByLabel('Client ID').fill('pump-1');
    assert.match(await verdict('open/x'), /^Allowed/);
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('button', { name: 'JSON', exact: true }).click();
    await page
      .getByLabel('Statement in JSON')
      .fill('{ "effect": "deny", "actions": ["publish"], "topics": ["secret/#"], "name": "no-secrets" }');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'no-secrets' }).waitFor();
    await page.getByRole('button', { name: 'Move statement 3 up' }).click();
    await page.locator('tr', { hasText: 'no-secrets' }).first().getByRole('cell', { name: '2', exact: true }).waitFor();
    assert.match(await verdict('secret/x'), /^Not allowed by statement 2/);
    await page.getByRole('button', { name: 'Remove statement 2' }).click();
    await confirm(page, 'Remove');
    await page.getByRole('cell', { name: 'no-secrets' }).waitFor({ state: 'detached' });
    opened.quiet();
  });

  test('an API key is shown once, and works', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('api-keys', 'API keys');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByLabel('Name', { exact: true }).fill('made1');
    await page.getByRole('button', { name: 'Make the key' }).click();
    const token = (await page.locator('.token').textContent()) ?? '';
    assert.match(token, /^ohk_made1_/);
    await page.getByRole('button', { name: 'Done' }).click();
    await page.getByRole('cell', { name: 'made1', exact: true }).waitFor();
    assert.ok(!(await page.content()).includes(token));
    const other = await openConsole(t, browser, broker);
    await other.page.getByLabel('API key or token').fill(token);
    await other.page.getByRole('button', { name: 'Log in' }).click();
    await said(other.page, 'api key made1');
    await page.getByRole('button', { name: 'Remove made1' }).click();
    await confirm(page, 'Remove');
    await page.getByRole('cell', { name: 'made1', exact: true }).waitFor({ state: 'detached' });
    await other.page.getByRole('link', { name: 'Clients' }).click();
    await said(other.page, 'count no longer');
    await opened.open('audit', 'Audit log');
    await page.getByRole('cell', { name: 'removeApiKey' }).first().waitFor();
    opened.quiet();
    other.quiet();
  });

  test('a user is added, and somebody is blocked', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('users', 'Users');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByLabel('Username').fill('zoe');
    await page.getByLabel('Attributes').fill('group: pumps');
    await page.getByRole('button', { name: 'Save' }).click();
    assert.ok(((await page.locator('.token').textContent()) ?? '').length >= 12, 'the broker has made a password');
    await page.getByRole('button', { name: 'Done' }).click();
    await page.getByRole('cell', { name: 'group: pumps' }).waitFor();
    const victim = await connect(broker.port, { clientId: 'stolen-1' });
    await opened.open('block-rules', 'Block rules');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByLabel('Name', { exact: true }).fill('stolen');
    await page.getByLabel('Blocks').fill('stolen-*');
    await page.getByRole('button', { name: 'Block', exact: true }).click();
    await page.getByRole('cell', { name: 'stolen-*' }).waitFor();
    await victim.closed;
    opened.quiet();
  });
});

describe('every page', () => {
  for (const colorScheme of ['light', 'dark'] as const)
    test(`fits a phone and is fit for everybody (${colorScheme})`, async (t) => {
      const opened = await inside(t, 'admin', { viewport: PHONE, colorScheme });
      const { page } = opened;
      assert.equal(await page.locator('html').getAttribute('data-theme'), colorScheme);
      const problems: string[] = [];
      // What does not depend on colours is the same in the dark.
      const rules = colorScheme === 'dark' ? ['color-contrast'] : undefined;
      for (const [place, heading] of PAGES) {
        await opened.open(place, heading);
        await page.locator('[aria-busy=true]').first().waitFor({ state: 'detached' });
        const width = await page.evaluate<number>('document.documentElement.scrollWidth');
        if (width > PHONE.width) problems.push(`${place}: ${width} pixels wide`);
        problems.push(...(await opened.accessibilityFaults(rules)).map((fault) => `${place}: ${fault}`));
      }
      assert.deepEqual(problems, []);
      opened.quiet();
    });

  test('asks for nothing that the API does not know', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    const { json } = await broker.request('GET', '/openapi.json');
    const known = Object.entries(json.paths as Record<string, { get?: { parameters?: { name: string; in: string }[] } }>).map(
      ([path, { get }]) =>
        [
          new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
          (get?.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name),
        ] as const,
    );
    const strange: string[] = [];
    page.on('request', (request) => {
      const { pathname, searchParams } = new URL(request.url());
      if (!pathname.startsWith('/api/') || request.method() !== 'GET') return;
      const names = known.filter(([path]) => path.test(pathname)).flatMap(([, ofPath]) => ofPath);
      for (const name of searchParams.keys()) if (!names.includes(name)) strange.push(`${pathname} ${name}`);
    });
    for (const [place, heading] of PAGES) {
      await opened.open(place, heading);
      await page.locator('[aria-busy=true]').first().waitFor({ state: 'detached' });
    }
    assert.deepEqual(strange, []);
    opened.quiet();
  });

  test('is reached through the menu of a phone, and the login fits, too', async (t) => {
    const opened = await openConsole(t, browser, broker, { viewport: PHONE });
    const { page } = opened;
    assert.deepEqual(await opened.accessibilityFaults(), []);
    assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth')) <= PHONE.width);
    await logIn(opened, broker, 'viewer');
    await page.getByRole('button', { name: 'Menu' }).click();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await page.getByRole('link', { name: 'Listeners' }).click();
    await page.getByRole('heading', { level: 1, name: 'Listeners' }).waitFor();
    // The menu closes itself; how soon is the browser's.
    await page.getByRole('link', { name: 'Alarms' }).waitFor({ state: 'hidden' });
    opened.quiet();
  });

  test('says plainly what the broker does not offer', async (t) => {
    const opened = await openConsole(t, browser, broker);
    await opened.page.route('**/api/v1/messages*', (route) =>
      route.fulfill({
        status: 501,
        contentType: 'application/problem+json',
        body: JSON.stringify({ code: 'not-implemented', detail: 'see history.enabled' }),
      }),
    );
    await logIn(opened, broker, 'viewer');
    await opened.open('messages', 'Messages');
    await said(opened.page, /does not offer the history of messages.*see history\.enabled/);
    opened.quiet();
  });
});

describe('the watch over the pages', () => {
  test('notices what they must not do', async (t) => {
    for (const [what, seen] of [
      ["document.body.setAttribute('style', 'color: red')", /Content Security Policy/],
      [
        "document.head.append(Object.assign(document.createElement('style'), { textContent: 'p { color: red }' }))",
        /Content Security Policy/,
      ],
      ["try { document.body.innerHTML = '<b>x</b>' } catch (error) { console.error(error.message) }", /TrustedHTML/],
      ["fetch('http://127.0.0.2:9/').catch(() => {})", /127\.0\.0\.2|Content Security Policy/],
      ["setTimeout(() => { throw new Error('on purpose') })", /on purpose/],
    ] as const) {
      const opened = await openConsole(t, browser, broker);
      const noticed = opened.noticed();
      await opened.page.evaluate(`{ ${what} }`);
      await noticed;
      assert.throws(() => opened.quiet(), seen, what);
    }
  });
});

describe('the keyboard', () => {
  test('is enough', async (t) => {
    const opened = await openConsole(t, browser, broker);
    const { page } = opened;
    const { keyboard } = page;
    await page.locator('select').waitFor();
    await keyboard.press('Tab');
    await keyboard.press('Tab');
    await keyboard.insertText(broker.keys.operator);
    await keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    const focused = (): Promise<string> =>
      page.evaluate('document.activeElement.id || document.activeElement.textContent || document.activeElement.tagName');
    await page.reload();
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    await keyboard.press('Tab');
    assert.equal(await focused(), 'Skip to the content');
    assert.ok(((await page.getByText('Skip to the content').boundingBox())?.x ?? -1) >= 0, 'it is seen when it has the focus');
    await keyboard.press('Enter');
    assert.equal(await focused(), 'main');
    // On a busy machine the second key may come too late.
    await until('the page of the clients', async () => {
      await keyboard.press('g');
      await keyboard.press('c');
      return page.getByRole('heading', { level: 1, name: 'Clients' }).isVisible();
    });
    await page.getByLabel('Client ID begins with').waitFor();
    await keyboard.press('/');
    await keyboard.type('pump-?');
    assert.equal(await page.getByLabel('Client ID begins with').inputValue(), 'pump-?', 'whoever types is not disturbed');
    await page.evaluate('document.activeElement.blur()');
    await keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const outline = await page.evaluate<string>(
      `(() => { const link = document.querySelector('.menu a'); link.focus(); return getComputedStyle(link).outlineStyle; })()`,
    );
    assert.equal(outline, 'solid', 'the focus is seen');
    opened.quiet();
  });
});

describe('the theme', () => {
  test('is chosen, kept, and followed by the charts', async (t) => {
    const opened = await inside(t, 'viewer', { colorScheme: 'dark' });
    const { page } = opened;
    const html = page.locator('html');
    const background = (): Promise<string> =>
      page.evaluate('getComputedStyle(document.body).backgroundColor || getComputedStyle(document.documentElement).backgroundColor');
    const dark = await background();
    await page.getByRole('button', { name: 'Theme: system. Switch' }).click();
    assert.equal(await html.getAttribute('data-theme'), 'light');
    assert.notEqual(await page.evaluate('getComputedStyle(document.documentElement).getPropertyValue("--series-1")'), '');
    await page.reload();
    await page.getByRole('button', { name: 'Theme: light. Switch' }).waitFor();
    assert.equal(await html.getAttribute('data-theme'), 'light');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.getByRole('button', { name: 'Theme: light. Switch' }).click();
    assert.equal(await html.getAttribute('data-theme'), 'dark');
    assert.equal(await background(), dark);
    opened.quiet();
  });
});
