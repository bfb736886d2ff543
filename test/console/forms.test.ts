/**
 * Goal: an admin makes statements, changes the configuration and removes authorities in forms: what is typed is what the broker gets, what is there and not understood is
 * left alone, and what is wrong is said at its field.
 * Method: Debian's Chromium against real brokers; what was written is read back through the API. Every test ends with `quiet`.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { Authority, pem } from '../support/certificates.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { type ConsolePage, logIn, openConsole, startBrowser } from './browser.ts';

const PHONE = { width: 390, height: 844 };

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

async function inside(t: TestContext, broker: HttpBroker, options = {}): Promise<ConsolePage> {
  const opened = await openConsole(t, browser, broker, options);
  await logIn(opened, broker, 'admin');
  return opened;
}

/** A broker with a statement of its configuration, and these in its file. */
function withStatements(t: TestContext, statements: readonly object[]): Promise<HttpBroker> {
  const file = join(mkdtempSync(join(tmpdir(), 'onehop-forms-')), 'statements.json');
  writeFileSync(file, JSON.stringify({ version: 1, statements }));
  return startHttpBroker(t, {
    'authorization.statements': [{ name: 'first', effect: 'allow', actions: ['connect'] }],
    'authorization.file': file,
  });
}

/** The statements of the file, as they are written. */
async function writtenIn(broker: HttpBroker): Promise<object[]> {
  const { json } = await broker.request('GET', '/api/v1/policies', { role: 'viewer' });
  const own = json.data.filter(({ source }: { source: string }) => source === 'file');
  return own.map(({ index: _index, source: _source, ...statement }: { index: number; source: string }) => statement);
}

function form(page: Page): Locator {
  return page.getByRole('form', { name: 'Statement' });
}

function field(page: Page, label: string): Locator {
  return form(page).getByLabel(label, { exact: true });
}

async function save(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Save' }).click();
}

async function saved(page: Page): Promise<void> {
  await save(page);
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

/** What is said at a field; fails when it is not said. */
async function faultAt(control: Locator): Promise<string> {
  const faulty = control.and(control.page().locator('[aria-invalid=true]'));
  await faulty.waitFor();
  const [id] = ((await faulty.getAttribute('aria-describedby')) ?? '').split(' ');
  return (await control.page().locator(`[id="${id}"]`).textContent()) ?? '';
}

describe('the form of a statement', () => {
  test('makes what was typed, at its place', async (t) => {
    const broker = await withStatements(t, [{ name: 'all', effect: 'allow', actions: ['publish', 'subscribe'] }]);
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Add' }).click();
    await field(page, 'Effect').selectOption('deny');
    await field(page, 'Name').fill('own');
    await field(page, 'publish').check();
    await field(page, 'Topics').fill('fleet//up\n\n secret/# ');
    await field(page, 'Topics').evaluate((area: { setSelectionRange(from: number, to: number): void }) => area.setSelectionRange(6, 6));
    await form(page).getByRole('button', { name: 'Insert ${ClientId} into Topics' }).click();
    assert.equal(await page.evaluate('document.activeElement.tagName'), 'TEXTAREA', 'one goes on writing there');
    await field(page, '1').check();
    await field(page, '0').check();
    await field(page, 'Retained').selectOption('false');
    await field(page, 'Client IDs').fill('pump-*\nvalve-?');
    await field(page, 'Usernames').fill('${ClientId}');
    await field(page, 'Attributes of the client').fill('group: pumps\ngroup: valve-*\nsite: a:b');
    await field(page, 'Addresses').fill('10.0.0.0/8\n::1');
    await field(page, 'Place').fill('2');
    await saved(page);
    assert.deepEqual(await writtenIn(broker), [
      {
        name: 'own',
        effect: 'deny',
        actions: ['publish'],
        topics: ['fleet/${ClientId}/up', 'secret/#'],
        qos: [0, 1],
        retain: false,
        clientIds: ['pump-*', 'valve-?'],
        usernames: ['${ClientId}'],
        attributes: { group: ['pumps', 'valve-*'], site: ['a:b'] },
        addresses: ['10.0.0.0/8', '::1'],
      },
      { name: 'all', effect: 'allow', actions: ['publish', 'subscribe'] },
    ]);
    opened.quiet();
  });

  test('shows a P2P statement, changes one key, moves it, and takes keys away', async (t) => {
    const p2p = {
      name: 'p2p',
      effect: 'allow',
      resource: 'p2p',
      actions: ['publish'],
      targets: ['${ClientId}-*'],
      same: ['group'],
      targetAttributes: { role: ['gateway', 'hub-*'] },
    };
    const shared = { name: 'shared', effect: 'allow', actions: ['subscribe'], groups: ['workers'], qos: [2] };
    const broker = await withStatements(t, [shared, p2p]);
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Change statement 3' }).click();
    assert.equal(await field(page, 'Target clients').inputValue(), '${ClientId}-*');
    assert.equal(await field(page, 'Attributes of the target').inputValue(), 'role: gateway\nrole: hub-*');
    assert.equal(await field(page, 'Topics').count(), 0, 'it has none');
    await field(page, 'Attributes in common').fill('');
    await field(page, 'Place').fill('2');
    await saved(page);
    const { same: _, ...without } = p2p;
    assert.deepEqual(await writtenIn(broker), [without, shared]);
    await page.getByRole('button', { name: 'Change statement 3' }).click();
    assert.equal(await field(page, 'Share groups').inputValue(), 'workers');
    assert.ok(await field(page, '2').isChecked());
    await field(page, '2').uncheck();
    await saved(page);
    assert.deepEqual(await writtenIn(broker), [without, { name: 'shared', effect: 'allow', actions: ['subscribe'], groups: ['workers'] }]);
    opened.quiet();
  });

  test('says what is wrong at the field, and keeps what does not fit until somebody empties it', async (t) => {
    const broker = await withStatements(t, [{ name: 'kept', effect: 'allow', actions: ['publish'], topics: ['a/#'], retain: true }]);
    const before = await writtenIn(broker);
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Change statement 2' }).click();
    await field(page, 'Topics').fill('a/#/b');
    await field(page, 'Addresses').fill('10.0.0.0/99');
    await save(page);
    assert.match(await faultAt(field(page, 'Topics')), /expected topics with \+ and #/);
    assert.match(await faultAt(field(page, 'Addresses')), /10\.0\.0\.0\/99/);
    await page.locator('[aria-invalid=true]:focus').waitFor();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await field(page, 'Topics').fill('a/#');
    await field(page, 'Addresses').fill('');
    await field(page, 'Attributes of the client').fill('group');
    await save(page);
    assert.match(await faultAt(field(page, 'Attributes of the client')), /expected/, 'half a line is not left out');
    await field(page, 'Attributes of the client').fill('');
    // With subscribe the statement says more; that it is about retained messages only must not get lost on the way.
    await field(page, 'subscribe').check();
    await save(page);
    assert.match(await faultAt(field(page, 'Retained')), /retain is about publish only/);
    await field(page, 'About').selectOption('p2p');
    assert.ok(await field(page, 'subscribe').isChecked(), 'an action of the other kind is seen');
    assert.equal(await field(page, 'Topics').inputValue(), 'a/#');
    assert.deepEqual(await writtenIn(broker), before);
    // It goes away with its mark.
    await field(page, 'subscribe').click();
    await field(page, 'Topics').fill('');
    await field(page, 'Retained').selectOption('');
    await saved(page);
    assert.deepEqual(await writtenIn(broker), [{ name: 'kept', effect: 'allow', resource: 'p2p', actions: ['publish'] }]);
    opened.quiet();
  });

  test('has JSON as a second view, and leaves to it what lines cannot hold', async (t) => {
    const odd = { name: 'odd', effect: 'allow', actions: ['publish'], topics: ['with space '], attributes: { 'a:b': ['c'] } };
    const broker = await withStatements(t, [odd]);
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Change statement 2' }).click();
    const json = page.getByLabel('Statement in JSON');
    assert.deepEqual(JSON.parse(await json.inputValue()), odd);
    const view = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
    await view('Form');
    assert.match(await faultAt(json), /The form cannot show topics, attributes/);
    await json.fill('{ "effect": ');
    await save(page);
    assert.match(await faultAt(json), /This is no JSON/);
    await json.fill('{ "name": "odd", "effect": "deny", "actions": ["publish"], "topics": ["a/b"] }');
    await view('Form');
    assert.equal(await field(page, 'Topics').inputValue(), 'a/b');
    await field(page, 'Topics').fill('a/c');
    await view('JSON');
    assert.deepEqual(JSON.parse(await json.inputValue()), { name: 'odd', effect: 'deny', actions: ['publish'], topics: ['a/c'] });
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await saved(page);
    assert.deepEqual(await writtenIn(broker), [{ name: 'odd', effect: 'deny', actions: ['publish'], topics: ['a/c'] }]);
    opened.quiet();
  });

  test('is filled in by keyboard alone, on a phone, in the dark', async (t) => {
    const broker = await withStatements(t, []);
    const opened = await inside(t, broker, { viewport: PHONE, colorScheme: 'dark' });
    const { page } = opened;
    const { keyboard } = page;
    const isAt = (label: string): Promise<boolean> =>
      field(page, label).evaluate((element: { matches(selector: string): boolean }) => element.matches(':focus'));
    /** Tabs until a field has the focus. */
    const tabTo = async (label: string): Promise<void> => {
      for (let steps = 0; steps < 60 && !(await isAt(label)); steps++) await keyboard.press('Tab');
      assert.ok(await isAt(label), `${label} is reached`);
    };
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Add' }).focus();
    await keyboard.press('Enter');
    await form(page).waitFor();
    await tabTo('subscribe');
    await keyboard.press('Space');
    await tabTo('Topics');
    await keyboard.type('a/');
    await keyboard.press('Tab');
    await keyboard.press('Enter');
    await keyboard.type('/#');
    await tabTo('Place');
    const problems = await opened.accessibilityFaults();
    for (const box of ['document.documentElement', 'document.querySelector("dialog article")'])
      assert.ok(await page.evaluate(`${box}.scrollWidth <= ${box}.clientWidth`), `${box} fits`);
    assert.deepEqual(problems, []);
    await keyboard.press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.deepEqual(await writtenIn(broker), [{ effect: 'allow', actions: ['subscribe'], topics: ['a/${ClientId}/#'] }]);
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Add', 'the focus is back where it was');
    opened.quiet();
  });

  test('does not overwrite what somebody else has changed meanwhile', async (t) => {
    const broker = await withStatements(t, [{ name: 'one', effect: 'allow', actions: ['publish'] }]);
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('policies', 'Policies');
    await page.getByRole('button', { name: 'Change statement 2' }).click();
    await field(page, 'Effect').selectOption('deny');
    const other = await broker.request('PATCH', '/api/v1/policies/one', { role: 'admin', body: { topics: ['x'] } });
    assert.equal(other.status, 200);
    await save(page);
    await page.getByRole('alert').getByText('changed meanwhile').waitFor();
    assert.deepEqual(await writtenIn(broker), [{ name: 'one', effect: 'allow', actions: ['publish'], topics: ['x'] }]);
    opened.quiet();
  });
});

describe('the form of the configuration', () => {
  test('changes limits, words and numbers at once, and takes them back', async (t) => {
    const broker = await startHttpBroker(t, { 'log.level': 'info', 'alarms.webhook.url': 'https://hooks.example/services/hunter2' });
    const opened = await inside(t, broker);
    const { page } = opened;
    const valueAt = async (key: string): Promise<unknown> => {
      const { json } = await broker.request('GET', '/api/v1/config', { role: 'viewer' });
      return json.data.find((row: { key: string }) => row.key === key).value;
    };
    const row = (key: string): Locator => page.getByRole('table', { name: 'Configuration' }).locator('tr', { hasText: key });
    const change = async (key: string): Promise<void> => {
      await page.getByRole('button', { name: `Change ${key}`, exact: true }).click();
      await page.getByRole('form', { name: 'Configuration', exact: true }).waitFor();
    };
    await opened.open('broker', 'Broker');
    await row('alarms.webhook.url').waitFor();
    assert.ok(!(await page.content()).includes('hunter2'), 'secrets stay where they are');
    assert.match((await row('http.apiKeys').textContent()) ?? '', /in the file, with the restart/);
    assert.equal(await row('http.apiKeys').getByRole('button').count(), 0);
    await page.getByLabel('Show').selectOption('live');
    await row('quotas.client.bytesIn').waitFor();
    assert.deepEqual(await opened.accessibilityFaults(), []);

    await change('quotas.client.messagesIn');
    assert.equal(await page.evaluate('document.activeElement.closest("[data-key]").dataset.key'), 'quotas.client.messagesIn');
    await page.getByLabel('messagesIn', { exact: true }).selectOption('limit');
    await page.getByLabel('messagesIn per second').fill('5');
    await page.getByLabel('messagesIn burst').fill('99999999');
    await page.getByLabel('bytesIn', { exact: true }).selectOption('limit');
    await page.getByLabel('bytesIn per second').fill('64KiB');
    await page.getByLabel('overLimit', { exact: true }).selectOption('throttle');
    await save(page);
    assert.match(await faultAt(page.getByLabel('messagesIn per second')), /expected a burst/);
    assert.deepEqual(await opened.accessibilityFaults(), []);
    assert.equal(await valueAt('quotas.client.bytesIn'), 'off', 'all of it, or nothing');
    await page.getByLabel('messagesIn burst').fill('50');
    await saved(page);
    assert.deepEqual(await valueAt('quotas.client.messagesIn'), { perSecond: 5, burst: 50 });
    assert.equal(await valueAt('quotas.client.bytesIn'), '64KiB');
    assert.equal(await valueAt('quotas.client.overLimit'), 'throttle');

    // Keys that need each other go in one request.
    await change('quotas.groups.connections');
    await page.getByLabel('connections', { exact: true }).fill('7');
    await save(page);
    assert.match(await faultAt(page.getByLabel('by', { exact: true })), /expected username or an attribute/);
    await page.getByLabel('by', { exact: true }).fill('username');
    await saved(page);
    assert.deepEqual([await valueAt('quotas.groups.by'), await valueAt('quotas.groups.connections')], ['username', 7]);

    await change('log.level');
    await page.getByLabel('level', { exact: true }).selectOption('warn');
    await saved(page);
    await row('log.level').getByText('changed here').waitFor();
    await change('log.level');
    await page.getByRole('button', { name: 'Take the change of log.level back' }).click();
    await saved(page);
    assert.equal(await valueAt('log.level'), 'info', 'what is written holds again');
    await row('quotas.client.messagesIn').getByText('changed here').waitFor();
    await page.getByRole('button', { name: 'Forget changes' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Forget', exact: true }).click();
    await row('quotas.client.messagesIn').getByText('off').waitFor();
    assert.equal(await valueAt('quotas.groups.by'), 'none');
    opened.quiet();
  });

  test('keeps what is hidden until somebody replaces it, and takes numbers and pairs as such', async (t) => {
    const config = join(mkdtempSync(join(tmpdir(), 'onehop-forms-')), 'onehop.yaml');
    writeFileSync(
      config,
      `alarms: { webhook: { url: 'http://127.0.0.1:9/hunter2' } }
tracing: { otlp: 'http://127.0.0.1:9', headers: { Authorization: 'Bearer hunter2' }, sample: 0.25 }
`,
    );
    const broker = await startHttpBroker(t, { config });
    const opened = await inside(t, broker);
    const { page } = opened;
    const sent: unknown[] = [];
    page.on('request', (request) => {
      if (request.method() === 'PATCH') sent.push(request.postDataJSON());
    });
    await opened.open('broker?show=live', 'Broker');
    await page.getByRole('button', { name: 'Change alarms.webhook.url', exact: true }).click();
    await page.getByText('What is there is hidden, and stays.').waitFor();
    await page.getByLabel('retries', { exact: true }).fill('3');
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await saved(page);
    await page.getByRole('button', { name: 'Change alarms.webhook.url', exact: true }).click();
    await page.getByRole('button', { name: 'Replace alarms.webhook.url' }).click();
    assert.equal(await page.getByLabel('url', { exact: true }).inputValue(), '');
    await page.getByLabel('url', { exact: true }).fill('ftp://127.0.0.1');
    await save(page);
    assert.match(await faultAt(page.getByLabel('url', { exact: true })), /expected an address/);
    await page.getByLabel('url', { exact: true }).fill('');
    await saved(page);
    await page.getByRole('button', { name: 'Change tracing.sample', exact: true }).click();
    await page.getByText('They come to those that are there: Authorization.').waitFor();
    assert.equal(await page.getByLabel('sample', { exact: true }).inputValue(), '0.25');
    await page.getByLabel('sample', { exact: true }).fill('0.5');
    await page.getByLabel('headers', { exact: true }).fill('X-Fleet: berlin');
    await page.getByLabel('fromClients', { exact: true }).selectOption('false');
    await saved(page);
    assert.deepEqual(sent, [
      { alarms: { webhook: { retries: 3 } } },
      { alarms: { webhook: { url: 'ftp://127.0.0.1' } } },
      { alarms: { webhook: { url: '' } } },
      { tracing: { headers: { 'X-Fleet': 'berlin' }, sample: 0.5, fromClients: false } },
    ]);
    assert.ok(!(await page.content()).includes('hunter2'), 'secrets stay where they are');
    opened.quiet();
  });

  test('fits a phone, in the dark', async (t) => {
    const broker = await startHttpBroker(t);
    const opened = await inside(t, broker, { viewport: PHONE, colorScheme: 'dark' });
    const { page } = opened;
    await opened.open('broker?show=live', 'Broker');
    await page.getByRole('button', { name: 'Change quotas.client.messagesIn', exact: true }).click();
    await page.getByLabel('messagesIn', { exact: true }).selectOption('limit');
    for (const box of ['document.documentElement', 'document.querySelector("dialog article")'])
      assert.ok(await page.evaluate(`${box}.scrollWidth <= ${box}.clientWidth`), `${box} fits`);
    assert.deepEqual(await opened.accessibilityFaults(), []);
    opened.quiet();
  });
});

describe('certificates and authorities', () => {
  test('are registered and removed, an authority with its certificates only where that is said', async (t) => {
    const fleet = new Authority('console-fleet');
    const device = fleet.issueAs('device-1', '/CN=device-1');
    const registry = join(mkdtempSync(join(tmpdir(), 'onehop-registry-')), 'certificates.jsonl');
    writeFileSync(registry, '{"version":1}\n');
    const tls = { certificates: [fleet.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1'])], verifyClient: 'required', ca: fleet.root };
    const bind = '127.0.0.1:0';
    const broker = await startHttpBroker(t, {
      listeners: [
        { type: 'tcp', bind },
        { type: 'http', bind },
        { type: 'tls', bind, tls },
      ],
      'auth.authenticators': [{ type: 'certificate', registry }],
    });
    const opened = await inside(t, broker);
    const { page } = opened;
    const list = (path: string): Promise<{ status: string }[]> =>
      broker.request('GET', `/api/v1/certificates${path}`, { role: 'viewer' }).then(({ json }) => json.data);
    const confirm = (action: string): Promise<void> => page.getByRole('dialog').getByRole('button', { name: action, exact: true }).click();
    await opened.open('certificates', 'Certificates');
    await page.getByRole('button', { name: 'Add an authority' }).click();
    await page.getByRole('button', { name: 'Make the code' }).click();
    const code = (await page.locator('.token').textContent()) ?? '';
    await page.getByLabel('Certificate of the authority, in PEM').fill(pem(fleet.root));
    await page.getByLabel('Certificate with the code, in PEM').fill(pem(fleet.issueAs('proof', `/CN=${code}`).chain));
    await page.getByRole('button', { name: 'Register' }).click();
    await page.getByRole('table', { name: 'Authorities' }).getByRole('cell', { name: 'console-fleet', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByLabel('Certificate, in PEM').fill(pem(device.chain));
    await page.getByRole('form', { name: 'Certificate', exact: true }).getByLabel('Client ID').fill('pump-1');
    await page.getByRole('button', { name: 'Register' }).click();
    await page.getByRole('table', { name: 'Certificates of devices' }).getByRole('cell', { name: 'device-1', exact: true }).waitFor();
    const place = {
      transport: 'tls',
      host: '127.0.0.1',
      port: broker.ports[2]!,
      ca: pem(fleet.root),
      cert: pem(device.chain),
      key: pem(device.key),
    } as const;
    const client = await connect(place, { clientId: 'pump-1' });

    await page.getByRole('button', { name: 'Deactivate console-fleet' }).click();
    await page.getByRole('dialog').getByText('are disconnected').waitFor();
    await confirm('Deactivate');
    await page.getByRole('button', { name: 'Activate console-fleet', exact: true }).click();
    await page.getByRole('button', { name: 'Deactivate console-fleet' }).waitFor();
    await client.closed;
    const again = await connect(place, { clientId: 'pump-1' });
    await page.getByRole('button', { name: 'Remove console-fleet' }).click();
    assert.deepEqual(await opened.accessibilityFaults(), []);
    await page.keyboard.press('Escape');
    assert.equal((await list('/authorities')).length, 1, 'who does not confirm removes nothing');
    await page.getByRole('button', { name: 'Remove console-fleet' }).click();
    await confirm('Remove');
    await page.getByRole('status').getByText('1 certificates of this authority are registered').waitFor();
    assert.equal((await list('/authorities')).length, 1);
    await page.getByRole('button', { name: 'Remove console-fleet' }).click();
    await page.getByLabel('Also remove the certificates').check();
    await confirm('Remove');
    await page.getByText('There is none.').waitFor();
    await again.closed;
    assert.deepEqual([await list('/authorities'), await list('')], [[], []]);
    await opened.open('audit?action=removeAuthority', 'Audit log');
    await page.getByRole('cell', { name: /DELETE .*withCertificates=true/ }).waitFor();
    opened.quiet();
  });
});

describe('authenticators', () => {
  test('one is added, switched off and on, and removed; what is wrong with its key is said there', async (t) => {
    const file = join(mkdtempSync(join(tmpdir(), 'onehop-forms-')), 'authenticators.json');
    const broker = await startHttpBroker(t, { 'auth.file': file, 'auth.allowAnonymous': true });
    const opened = await inside(t, broker);
    const { page } = opened;
    await opened.open('broker', 'Broker');
    const part = page.getByRole('region', { name: 'Authenticators' });
    await part.getByText('There is none.').waitFor();
    await part.getByRole('button', { name: 'Add' }).click();
    const dialog = page.getByRole('form', { name: 'Authenticator' });
    await dialog.getByLabel('Name', { exact: true }).fill('tokens');
    await dialog.getByLabel('Algorithms').fill('HS256');
    await dialog.getByLabel('Key', { exact: true }).selectOption('secretText');
    await dialog.getByLabel('The key itself').fill('short');
    await dialog.getByRole('button', { name: 'Add' }).click();
    await dialog.getByText(/a secret of 5 bytes can be guessed/).waitFor();
    await dialog.getByLabel('The key itself').fill('long enough'.repeat(4));
    await dialog.getByRole('button', { name: 'Add' }).click();
    const row = part.getByRole('row', { name: /tokens/ });
    await row.getByText('jwt', { exact: true }).waitFor();
    await row.getByRole('button', { name: 'Switch off tokens' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Switch off' }).click();
    await row.getByText('jwt (off)').waitFor();
    const [one] = (await broker.request('GET', '/api/v1/authenticators', { role: 'viewer' })).json.data;
    assert.deepEqual([one.name, one.isActive], ['tokens', false]);
    await row.getByRole('button', { name: 'Switch on tokens' }).click();
    await row.getByText('jwt', { exact: true }).waitFor();
    await row.getByRole('button', { name: 'Remove tokens' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await part.getByText('There is none.').waitFor();
    opened.quiet();
  });
});
