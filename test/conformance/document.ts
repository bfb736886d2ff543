/**
 * Writes `docs/conformance.md` from the data of this folder: every normative statement of MQTT 5.0 and 3.1.1 with the scripts that judge it,
 * the test that covers it, or the reason why it does not apply. The file is generated whole; a test compares it with what is written here.
 */

import { loadProfiles, loadScripts, loadStatements, type Protocol, type Script, type Statement, scriptsOf } from './scripts.ts';

/** Path of the document from the top folder of the source tree. */
export const CONFORMANCE_DOCUMENT = 'docs/conformance.md';

const STANDARDS: readonly { readonly protocol: Protocol; readonly title: string; readonly address: string }[] = [
  { protocol: '5.0', title: 'MQTT 5.0', address: 'https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html' },
  { protocol: '3.1.1', title: 'MQTT 3.1.1', address: 'https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html' },
];

const BINDS = { server: 'Server', client: 'Client', both: 'both' } as const;

/** The text of `docs/conformance.md`. */
export function conformanceDocument(): string {
  const scripts = loadScripts();
  const statements = loadStatements();
  const lines = [
    '# Conformance',
    '',
    '<!-- Generated from test/conformance by `npm run docs`. Do not edit. -->',
    '',
    'This page lists every normative statement of MQTT 5.0 and MQTT 3.1.1 by its number, in our words.',
    'Beside each stands what proves it: scripts of `test/conformance`, another test, or the reason why it does not apply to the broker.',
    'A script is data: bytes sent and bytes expected. `npm test` runs each script with 1, 2 and 4 shards.',
    'With more than one shard it runs twice: once with all its clients on one shard, once with its clients on different shards.',
    '',
    'To judge another broker by the same scripts: `CONFORMANCE_BROKER=127.0.0.1:1883 node --test dist/test/conformance/conformance.test.js`.',
    '',
    ...summary(scripts, statements),
  ];
  for (const { protocol, title, address } of STANDARDS) {
    lines.push('', `## ${title}`, '', `The numbers are those of appendix B of the [standard](${address}).`);
    lines.push('', '| Number | Binds | Statement | Proof |', '| --- | --- | --- | --- |');
    for (const statement of statements.filter((one) => one.protocol === protocol)) {
      lines.push(`| ${statement.number} | ${BINDS[statement.binds]} | ${statement.says} | ${cell(proof(statement, scripts))} |`);
    }
  }
  lines.push(
    '',
    '## Further rules',
    '',
    'Scripts for rules of the standards that have no number.',
    '',
    '| Protocol | Script |',
    '| --- | --- |',
  );
  for (const script of scripts.filter((one) => one.statements.length === 0)) {
    lines.push(`| ${script.protocol} | ${cell(reference(script))} |`);
  }
  return `${lines.join('\n')}\n`;
}

function summary(scripts: readonly Script[], statements: readonly Statement[]): string[] {
  const lines = [
    '| Protocol | Scripts | Statements | proved by script | by another test | not applicable |',
    '| --- | ---: | ---: | ---: | ---: | ---: |',
  ];
  for (const protocol of ['5.0', '3.1.1', '3.1'] as const) {
    const own = statements.filter((statement) => statement.protocol === protocol);
    const proved = own.filter((statement) => scriptsOf(statement, scripts).length > 0).length;
    const tested = own.filter((statement) => statement.test !== undefined).length;
    const reasons = own.filter((statement) => statement.reason !== undefined).length;
    const count = scripts.filter((script) => script.protocol === protocol).length;
    lines.push(`| ${protocol} | ${count} | ${own.length} | ${proved} | ${tested} | ${reasons} |`);
  }
  const profiles = Object.keys(loadProfiles()).length;
  lines.push('', `The scripts run against ${profiles} configurations of the broker (\`test/conformance/settings.json\`).`);
  return lines;
}

function proof(statement: Statement, scripts: readonly Script[]): string {
  const parts = scriptsOf(statement, scripts).map(reference);
  if (statement.test !== undefined) {
    parts.push(`\`${statement.test}\``);
  }
  if (statement.reason !== undefined) {
    parts.push(`Does not apply: ${statement.reason}`);
  }
  return parts.join('<br>');
}

function reference(script: Script): string {
  return `\`${script.file}\` ${script.name}`;
}

/** A table cell must not hold the column separator. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
