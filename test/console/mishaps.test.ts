/**
 * Goal: what goes wrong between somebody and the broker is said where they look, and nothing is lost, overwritten or done by accident meanwhile.
 * Method: Debian's Chromium against real brokers that refuse, are changed by somebody else meanwhile, or do not answer. Every test ends with `quiet`.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { newDevice } from '../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker, suite } from '../support/http.ts';
import { until } from '../support/until.ts';
import { type ConsolePage, logIn, openConsole, startBrowser } from './browser.ts';

const PHONE = { width: 390, height: 740 };

let browser: Browser;
let broker: HttpBroker;
const all = suite();

before(async () => {
  browser = await startBrowser();
  const folder = mkdtempSync(join(tmpdir(), 'onehop-mishaps-'));
  const users = join(folder, 'users.json');
  const password = await hashPassword(Buffer.from('a long secret'));
  writeUserFile(users, [
    { username: 'alice', password, isSuperuser: false, attributes: { site: 'berlin' }, remark: 'first' },
    { username: 'odd', password, isSuperuser: false, attributes: { 'a:b': 'c' }, remark: '' },
  ]);
  const devices = join(folder, 'devices.json');
  writeDeviceFile(devices, new Map([['pump-9', newDevice({ deviceId: 'pump-9', attributes: { group: 'north' } })]]));
  const statements = join(folder, 'statements.json');
  writeFileSync(
    statements,
    JSON.stringify({ version: 1, statements: [{ effect: 'allow', actions: ['connect', 'publish', 'subscribe'] }] }),
  );
  broker = await startHttpBroker(all, {
    'auth.allowAnonymous': true,
    'auth.authenticators': [
      { type: 'users', file: users },
      { type: 'devices', file: devices },
    ],
    'auth.file': join(folder, 'authenticators.json'),
    'authorization.statements': [{ effect: 'allow', resource: 'p2p', actions: ['publish', 'observe'] }],
    'authorization.file': statements,
    'history.enabled': true,
    'history.path': join(folder, 'history'),
  });
});
after(async () => {
  await browser.close();
  await all.stop();
});

async function inside(t: TestContext, options = {}): Promise<ConsolePage> {
  const opened = await openConsole(t, browser, broker, options);
  await logIn(opened, broker, 'admin');
  return opened;
}

const button = (of: Page | Locator, name: string): Locator => of.getByRole('button', { name, exact: true });

/** The question in the topmost dialog. */
const question = (page: Page): Locator => page.getByRole('dialog').last();

async function confirm(page: Page, action: string): Promise<void> {
  await button(question(page), action).click();
}

/** Whatever a part of the API answers from now on. */
async function answerWith(page: Page, path: string, status: number, method = 'GET'): Promise<void> {
  await page.route(path, (route) =>
    route.request().method() === method
      ? route.fulfill({
          status,
          contentType: 'application/problem+json',
          body: JSON.stringify({ code: 'test', detail: 'refused for once' }),
        })
      : route.fallback(),
  );
}

function userOf(name: string): Promise<{ attributes: object; remark: string; isSuperuser: boolean }> {
  return broker.request('GET', `/api/v1/users/${name}`, { role: 'viewer' }).then(({ json }) => json);
}

describe('what the broker refuses', () => {
  test('is said in the view of a statement in JSON, too', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await button(page, 'Add').click();
    await button(page, 'JSON').click();
    const json = page.getByLabel('Statement in JSON');
    const dialog = page.getByRole('dialog');
    for (const [text, said] of [
      ['{"effect": "allow", "actions": ["publish"], "topics": ["a/#/b"]}', /topics.*expected/],
      ['{}', /effect.*expected/],
      ['{"effect": "allow", "actions": ["publish"], "clientIds": "x"}', /clientIds.*expected/],
      ['null', /A statement is an object/],
      ['5', /A statement is an object/],
    ] as const) {
      await json.fill(text);
      await button(page, 'Save').click();
      await dialog.getByRole('alert').getByText(said).waitFor();
    }
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await page.keyboard.press('Escape');
    await button(page, 'Change statement 2').click();
    await button(page, 'JSON').click();
    await json.fill('5');
    await button(page, 'Save').click();
    await dialog.getByRole('alert').getByText('A statement is an object').waitFor();
    opened.quiet();
  });

  test('is said wherever it is about one of several values, or about a field that was forgotten', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('broker', 'Broker');
    await button(page.getByRole('region', { name: 'Authenticators' }), 'Add').click();
    const form = page.getByRole('form', { name: 'Authenticator' });
    await form.getByLabel('Name', { exact: true }).fill('tokens');
    await form.getByLabel('Algorithms').fill('FOO');
    await form.getByLabel('Address').fill('https://keys.example/jwks');
    await button(form, 'Add').click();
    await form.locator('[aria-invalid=true]:focus').waitFor();
    assert.equal(await form.getByLabel('Algorithms').getAttribute('aria-invalid'), 'true');
    await page.keyboard.press('Escape');
    await opened.open('policies', 'Policies');
    await page.getByLabel('Client ID').fill('pump-1');
    await page.getByLabel('Topic', { exact: true }).fill('a');
    await page.getByLabel('Username').fill('u'.repeat(70_000));
    await button(page, 'Test').click();
    await page.locator('[aria-invalid=true]:focus').waitFor();
    assert.equal(await page.getByLabel('Username').getAttribute('aria-invalid'), 'true');
    opened.quiet();
  });

  test('is said to users before their attributes would get lost', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('users', 'Users');
    await button(page, 'Add').click();
    await page.getByLabel('Username').fill('carol');
    const attributes = page.getByLabel('Attributes');
    await attributes.fill('noColon');
    await button(page, 'Save').click();
    await page.getByRole('alert').getByText('“noColon” has no colon').waitFor();
    await attributes.fill('a: 1\na: 2');
    await button(page, 'Save').click();
    await page.getByRole('alert').getByText('“a” stands in two lines').waitFor();
    await page.locator('textarea[aria-invalid=true]:focus').waitFor();
    await button(page, 'Close').click();
    await button(page, 'Change odd').click();
    await page.getByLabel('Remark').fill('with a colon');
    await button(page, 'Save').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await button(page, 'Change odd').click();
    await attributes.fill('a:b: c\nd: e');
    await button(page, 'Save').click();
    await page.getByRole('alert').getByText('Lines cannot hold “a:b”').waitFor();
    assert.deepEqual((await userOf('odd')).attributes, { 'a:b': 'c' });
    opened.quiet();
  });

  test('names of dots go to no other place', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    const device = await connect(broker.port, { clientId: '..', properties: { sessionExpiryInterval: 600 } });
    const asked: string[] = [];
    page.on('request', (request) => {
      if (request.method() !== 'GET') asked.push(request.url());
    });
    await opened.open('clients', 'Clients');
    await button(page, 'Disconnect ..').click();
    await confirm(page, 'Disconnect');
    await page.getByText('A browser cannot send a name that is . or .. alone').waitFor();
    await opened.open('clients/..', '..');
    await page.getByRole('alert').getByText('curl --path-as-is').first().waitFor();
    await opened.open('subscriptions/workers/..', 'workers');
    await page.getByRole('alert').getByText('curl --path-as-is').first().waitFor();
    await opened.open('send?clientId=..', 'Send to a device');
    await button(page, 'Send').click();
    await page.locator('.outcome').getByText('Not sent').waitFor();
    assert.deepEqual(asked, []);
    await device.disconnect();
    opened.quiet();
  });
});

describe('what somebody else changes meanwhile', () => {
  test('in other statements keeps nobody from saving what they have typed', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    const admin = { role: 'admin' } as const;
    await broker.request('POST', '/api/v1/policies', {
      ...admin,
      body: { statement: { name: 'mine', effect: 'allow', actions: ['publish'] } },
    });
    await opened.open('policies', 'Policies');
    const row = page.getByRole('row', { name: /mine/ });
    await row.getByRole('button', { name: /^Change/ }).click();
    const form = page.getByRole('form', { name: 'Statement' });
    await form.getByLabel('Topics', { exact: true }).fill('typed/#');
    // The one that is edited has another place then.
    const other = { statement: { name: 'other', effect: 'deny', actions: ['publish'], topics: ['other'] }, index: 1 };
    assert.equal((await broker.request('POST', '/api/v1/policies', { ...admin, body: other })).status, 201);
    await button(page, 'Save').click();
    await form.getByText('Somebody else has changed other statements').waitFor();
    await page.getByRole('cell', { name: 'other', exact: true }).waitFor();
    assert.equal(await form.getByLabel('Topics', { exact: true }).inputValue(), 'typed/#');
    await button(page, 'Save').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await row.getByText('typed/#').waitFor();
    const list = async (): Promise<Record<string, unknown>[]> =>
      (await broker.request('GET', '/api/v1/policies', { role: 'viewer' })).json.data;
    assert.deepEqual(
      (await list()).slice(1).map(({ name, topics }) => [name, topics]),
      [
        ['other', ['other']],
        [undefined, undefined],
        ['mine', ['typed/#']],
      ].map(([name, topics]) => [name ?? undefined, topics ?? undefined]),
    );
    // And the one that is edited itself: theirs is left alone.
    await row.getByRole('button', { name: /^Change/ }).click();
    await form.getByLabel('Name', { exact: true }).fill('second');
    assert.equal((await broker.request('PATCH', '/api/v1/policies/mine', { ...admin, body: { qos: [1] } })).status, 200);
    await button(page, 'Save').click();
    await form.getByText('Save adds it as a new one').waitFor();
    await button(page, 'Save').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const names = (await list()).map(({ name }) => name);
    assert.ok(names.includes('mine') && names.includes('second'), String(names));
    for (const name of ['other', 'mine', 'second']) await broker.request('DELETE', `/api/v1/policies/${name}`, admin);
    opened.quiet();
  });

  test('of a user or a device stays as it is', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('users', 'Users');
    await button(page, 'Change alice').waitFor();
    const put = (body: object): Promise<unknown> => broker.request('PUT', '/api/v1/users/alice', { role: 'admin', body });
    await put({ attributes: { site: 'bonn' }, remark: 'theirs' });
    await button(page, 'Change alice').click();
    assert.equal(await page.getByLabel('Attributes').inputValue(), 'site: bonn', 'the form shows what is there now');
    await put({ attributes: { site: 'köln' } });
    await page.getByLabel('Remark').fill('mine');
    await button(page, 'Save').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.deepEqual(await userOf('alice').then(({ attributes, remark }) => [attributes, remark]), [{ site: 'köln' }, 'mine']);
    await opened.open('devices', 'Devices');
    await button(page, 'Change pump-9').waitFor();
    const device = (body?: object): Promise<{ json: { attributes: object } }> =>
      broker.request(body === undefined ? 'GET' : 'PUT', '/api/v1/devices/pump-9', { role: 'admin', body });
    await device({ attributes: { group: 'south' } });
    await button(page, 'Change pump-9').click();
    assert.equal(await page.getByLabel('Attributes').inputValue(), 'group: south');
    await device({ attributes: { group: 'west' } });
    await page.getByLabel('Enabled').uncheck();
    await button(page, 'Save').click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.deepEqual((await device()).json.attributes, { group: 'west' });
    await device({ isEnabled: true });
    opened.quiet();
  });

  test('a client comes back, and its page with it', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await page.clock.install();
    await opened.open('clients/late-1', 'late-1');
    await page.getByText('The broker has no session of this client.').waitFor();
    const client = await connect(broker.port, { clientId: 'late-1' });
    await page.clock.runFor(6000);
    await button(page, 'End the session').waitFor();
    await client.disconnect();
    opened.quiet();
  });
});

describe('what cannot be taken back', () => {
  test('is asked for: keys, subscriptions, authenticators', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    const sent: string[] = [];
    page.on('request', (request) => {
      if (request.method() !== 'GET') sent.push(request.method());
    });
    await opened.open('devices', 'Devices');
    await button(page, 'Change pump-9').click();
    await page.getByLabel('Enabled').uncheck();
    await button(page, 'Another primary key').click();
    await question(page).getByText('What you have changed in the form is not saved.').waitFor();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await button(question(page), 'Cancel').click();
    assert.equal(await page.getByLabel('Enabled').isChecked(), false, 'the form is as it was');
    assert.deepEqual(sent, []);
    await button(page, 'Another primary key').click();
    await confirm(page, 'Make another primary key');
    await page.locator('.token').first().waitFor();
    await button(page, 'Done').click();

    await broker.request('POST', '/api/v1/authenticators', {
      role: 'admin',
      body: { name: 'tokens', type: 'jwt', algorithms: ['HS256'], secretText: 'long enough'.repeat(4) },
    });
    await opened.open('broker', 'Broker');
    await button(page, 'Switch off tokens').click();
    await button(question(page), 'Cancel').click();
    const client = await connect(broker.port, { clientId: 'subscriber' });
    await client.subscribe('a/b', { qos: 1 });
    await opened.open('clients/subscriber', 'subscriber');
    await button(page, 'Unsubscribe from a/b').click();
    await button(question(page), 'Cancel').click();
    assert.deepEqual(sent, ['POST'], 'the rotation alone');
    await client.disconnect();
    await broker.request('DELETE', '/api/v1/authenticators/tokens', { role: 'admin' });
    opened.quiet();
  });

  test('a secret stays until its button is pressed, is copied before everybody, and then the list has its owner', async (t) => {
    const opened = await inside(t);
    const { page } = opened;
    await opened.open('api-keys', 'API keys');
    await button(page, 'Add').click();
    await page.getByLabel('Name', { exact: true }).fill('kept1');
    await button(page, 'Make the key').click();
    const token = page.locator('.token');
    await token.waitFor();
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Copy', 'the focus is not lost with the field');
    for (let presses = 0; presses < 3; presses++) await page.keyboard.press('Escape');
    assert.ok(await token.isVisible(), 'a key pressed by habit closes nothing');
    await page.evaluate(`Object.defineProperty(navigator, 'clipboard', { configurable: true, value: { writeText: async () => {} } })`);
    await button(page, 'Copy').click();
    const notice = page.locator('.notice', { hasText: 'Copied' });
    await button(notice, 'Dismiss').click();
    await notice.waitFor({ state: 'detached' });
    await page.evaluate(
      `Object.defineProperty(navigator, 'clipboard', { configurable: true, value: { writeText: () => Promise.reject(new Error('refused')) } })`,
    );
    await button(page, 'Copy').click();
    await page.locator('.notice', { hasText: 'does not let this page use the clipboard' }).waitFor();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await button(page, 'Close').click();
    await page.getByRole('cell', { name: 'kept1', exact: true }).waitFor();
    await button(page, 'Remove kept1').click();
    await confirm(page, 'Remove');
    await page.getByRole('cell', { name: 'kept1', exact: true }).waitFor({ state: 'detached' });
    opened.quiet();
  });
});

test('a message that no trace has followed is not taken for one that got nowhere', async (t) => {
  const device = await connect(broker.port, { clientId: 'untraced-1' });
  await broker.request('POST', '/v1/clients/untraced-1/messages?qos=1&confirm=true', { role: 'operator', body: 'x' });
  let id = '';
  await until('the message in the history', async () => {
    id = (await broker.request('GET', '/api/v1/messages?target=untraced-1', { role: 'viewer' })).json.data[0]?.id ?? '';
    return id !== '';
  });
  const opened = await inside(t, { viewport: PHONE });
  await opened.open(`messages/${id}`, `Message ${id}`);
  await opened.page.getByText('It may well have arrived.').waitFor();
  await device.disconnect();
  opened.quiet();
});

test('a list that could not be asked again stays, and can be', async (t) => {
  const opened = await inside(t);
  const { page } = opened;
  await opened.open('policies', 'Policies');
  await page.getByRole('table', { name: 'Statements' }).waitFor();
  await answerWith(page, '**/api/v1/policies', 429);
  await button(page, 'Add').click();
  await page.getByRole('form', { name: 'Statement' }).getByLabel('publish', { exact: true }).check();
  await button(page, 'Save').click();
  await page.getByRole('alert').getByText('refused for once').waitFor();
  assert.equal(await page.getByRole('table', { name: 'Statements' }).count(), 1);
  await page.unrouteAll();
  await button(page, 'Try again').click();
  await page.getByRole('alert').waitFor({ state: 'detached' });
  await button(page, 'Remove statement 3').click();
  await confirm(page, 'Remove');
  await button(page, 'Remove statement 3').waitFor({ state: 'detached' });
  opened.quiet();
});

test('names that run from the right, or are very long, leave sentences and pictures whole', async (t) => {
  const arabic = 'شاحنة-7';
  const long = `long-${'x'.repeat(240)}`;
  const clients = await Promise.all([arabic, long].map((clientId) => connect(broker.port, { clientId })));
  const begun = await broker.request('POST', '/api/v1/traces', { role: 'operator', body: { clientId: long, seconds: 600 } });
  await clients[1]!.publish('nobody/hears', 'x', { qos: 1 });
  const opened = await inside(t, { viewport: PHONE });
  const { page } = opened;
  await opened.open('clients', 'Clients');
  const disconnect = button(page, `Disconnect ${arabic}`);
  await disconnect.scrollIntoViewIfNeeded();
  const link = page.getByRole('link', { name: arabic });
  const [seen, pressed] = [await link.boundingBox(), await disconnect.boundingBox()];
  assert.ok(seen !== null && seen.x >= 0 && pressed !== null && pressed.x < PHONE.width, 'who is disconnected is in sight with the button');
  await disconnect.click();
  await question(page).getByText(`\u2068${arabic}\u2069 loses its connection`).waitFor();
  await confirm(page, 'Disconnect');
  await disconnect.waitFor({ state: 'detached' });
  await page.locator('section.scroll:focus').waitFor();
  await opened.open(`traces/${begun.json.id}`, `Trace ${begun.json.id}`);
  const label = page.locator('.timeline .label p');
  await label.filter({ hasText: 'to nobody' }).waitFor();
  assert.equal(await label.first().evaluate((one: { title: string }) => one.title.includes('x'.repeat(240))), true, 'all of it on demand');
  const sizes = `[...document.querySelectorAll('.timeline .label p')].map((one) => [one.getBoundingClientRect().right <= innerWidth, getComputedStyle(one).fontSize])`;
  for (const size of await page.evaluate<[boolean, string][]>(sizes)) assert.deepEqual(size, [true, '14px']);
  assert.deepEqual(await opened.accessibilityFaults(), []);
  await clients[1]!.disconnect();
  opened.quiet();
});

test('what is gone is not said to be switched off, and a stale link leads back to the beginning', async (t) => {
  const opened = await inside(t);
  const { page } = opened;
  for (const [place, heading] of [
    [`messages/${'0'.repeat(32)}`, `Message ${'0'.repeat(32)}`],
    ['traces/deadbeef', 'Trace deadbeef'],
    ['subscriptions/workers/nothing', 'workers'],
  ] as const) {
    await opened.open(place, heading);
    await page.getByText('It is not there, or not any more.').first().waitFor();
    assert.equal(await page.getByText('does not offer').count(), 0);
  }
  assert.equal(await button(page, 'End it now').count(), 0);
  await opened.open('clients?page=3&cursor=bogus', 'Clients');
  await button(page, 'To the first page').click();
  await page
    .getByText('No client fits.')
    .or(page.getByRole('table', { name: 'Clients' }))
    .first()
    .waitFor();
  opened.quiet();
});

test('what the broker does not offer is not offered here, and its settings show what holds', async (t) => {
  const opened = await inside(t);
  const { page } = opened;
  await opened.open('certificates', 'Certificates');
  await page.getByText('does not offer a registry of certificates').waitFor();
  await button(page, 'Add').waitFor({ state: 'detached' });
  await button(page, 'Add an authority').waitFor({ state: 'detached' });
  await opened.open('broker', 'Broker');
  const level = page.getByLabel('Level', { exact: true });
  const before = await level.inputValue();
  await answerWith(page, '**/api/v1/log-level', 409, 'PUT');
  await level.selectOption('trace');
  await page.locator('.notice', { hasText: 'refused for once' }).waitFor();
  await until('the level that holds', async () => (await level.inputValue()) === before);
  await page.unrouteAll();
  await opened.open('block-rules', 'Block rules');
  opened.quiet();
});

test('a part of an hour, another kind of trace, a key that is none, and the own key', async (t) => {
  const opened = await openConsole(t, browser, broker);
  const { page } = opened;
  await page.getByLabel('API key or token').fill('ohk_ключ');
  await button(page, 'Log in').click();
  await page.getByRole('alert').getByText('This is no key or token').waitFor();
  await logIn(opened, broker, 'admin');
  await opened.open('traces', 'Traces');
  await button(page, 'Add').click();
  await page.getByLabel('Messages', { exact: true }).selectOption('filter');
  await page.getByLabel('Filter', { exact: true }).fill('a/b');
  await page.getByLabel('Messages', { exact: true }).selectOption('sample');
  assert.equal(await page.getByLabel('One in').inputValue(), '');
  await page.keyboard.press('Escape');
  await opened.open('api-keys', 'API keys');
  await button(page, 'Add').click();
  await page.getByLabel('Name', { exact: true }).fill('halfday');
  await page.getByLabel('For (days)').fill('0.5');
  await button(page, 'Make the key').click();
  await button(page, 'Done').click();
  await button(page, 'Remove halfday').click();
  await confirm(page, 'Remove');
  await button(page, 'Remove halfday').waitFor({ state: 'detached' });
  await button(page, 'Remove testadmin').click();
  await question(page).getByText('you are logged in with').waitFor();
  await button(question(page), 'Cancel').click();
  opened.quiet();
});

test('the menu of a phone closes behind whoever uses it', async (t) => {
  const opened = await inside(t, { viewport: PHONE });
  const { page } = opened;
  const menu = button(page, 'Menu');
  await opened.open('clients/nobody', 'nobody');
  await menu.click();
  await page.getByRole('navigation', { name: 'Pages' }).getByText('Times are those of UTC').waitFor();
  await page.getByRole('link', { name: 'Clients', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Clients' }).waitFor();
  await page.getByRole('link', { name: 'Alarms' }).waitFor({ state: 'hidden' });
  await menu.click();
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: 'Alarms' }).waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Menu');
  opened.quiet();
});

test('bytes are not taken for a text that looks like them', async (t) => {
  const meter = await connect(broker.port, { clientId: 'meter-1' });
  await meter.publish('bytes/1', Buffer.from([0, 1, 2]), { qos: 1 });
  await meter.publish('bytes/2', '00 01 02', {
    qos: 1,
    properties: {
      userProperties: [
        ['a', 'b'],
        ['c', 'd'],
      ],
    },
  });
  await meter.publish('bytes/3', 'long '.repeat(50), { qos: 1 });
  const list = async (): Promise<{ id: string; topic: string }[]> =>
    (await broker.request('GET', '/api/v1/messages?filter=bytes/%23', { role: 'viewer' })).json.data;
  await until('the messages in the history', async () => (await list()).length === 3);
  const opened = await inside(t);
  const { page } = opened;
  await opened.open('messages?filter=bytes/%23', 'Messages');
  const row = (topic: string): Locator => page.getByRole('row', { name: new RegExp(topic) });
  await row('bytes/1').getByText('bytes', { exact: true }).waitFor();
  assert.equal(await row('bytes/2').getByText('bytes', { exact: true }).count(), 0);
  await row('bytes/3').getByText('long…').waitFor();
  const id = (await list()).find(({ topic }) => topic === 'bytes/2')!.id;
  await opened.open(`messages/${id}`, `Message ${id}`);
  await page.getByText('a: b, c: d').waitFor();
  await meter.disconnect();
  opened.quiet();
});

test('a page that is seen again asks once, not once more each time', async (t) => {
  const opened = await inside(t);
  const { page } = opened;
  await page.clock.install();
  let waiting = 0;
  let most = 0;
  let answer = (): void => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  await page.route('**/api/v1/clients/twice-1', async (route) => {
    waiting++;
    most = Math.max(most, waiting);
    await answered;
    waiting--;
    await route.fulfill({ status: 404, contentType: 'application/problem+json', body: '{"code":"no-session"}' });
  });
  await opened.open('clients/twice-1', 'twice-1');
  await until('the first request', async () => waiting === 1);
  for (let looks = 0; looks < 3; looks++) await page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);
  answer();
  await page.getByText('The broker has no session of this client.').waitFor();
  assert.equal(most, 1);
  opened.quiet();
});
