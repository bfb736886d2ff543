/**
 * The manual page of the configuration, written from the schema: `docs/configuration.md`.
 *
 * Nothing here runs in a broker; `npm run docs` writes the page, and a test compares it. Invariant: every key of the schema has its row, so a key
 * cannot exist without a text.
 */
import { statementKeys } from './authorization-schema.ts';
import { type ConfigKey, configKeys } from './config-schema.ts';
import type { KeyFacts } from './config-value.ts';
import { listenerKeys } from './listener-schema.ts';

const introduction = `# Configuration

<!-- Written by \`npm run docs\` from src/server/config-schema.ts. Change it there. -->

\`onehop start\` needs no configuration: it listens on \`127.0.0.1:1883\` and takes anonymous clients from this machine.
Everything else is in one YAML file:

\`\`\`yaml
# onehop start --config onehop.yaml
listeners:
  - { type: tcp, bind: 0.0.0.0:1883 }
shards: auto
auth:
  allowAnonymous: true
limits:
  packetSize: 256KiB
  sessionExpiry: 7d
\`\`\`

\`onehop check-config onehop.yaml\` says whether a file is right, and with it the files of statements, users, devices, block rules and API keys that it names, without starting anything.

## Values

- A duration is a number with a unit: \`500ms\`, \`10s\`, \`3m\`, \`2h\`, \`7d\`, \`1w\`. A bare number counts seconds. Some keys take \`never\`.
- A size is a number with a unit: \`64KiB\`, \`1MiB\`, \`2GiB\` (powers of 1024), \`10KB\`, \`10MB\`, \`1GB\` (powers of 1000). A bare number counts bytes.
- A key or section that is not written has its default.

## Overrides

Each source beats the one before: file, environment, \`--set\`, \`--shards\`.

- Environment: \`ONEHOP_\`, then the key in capitals, with \`__\` for each dot and \`_\` before each capital letter.
  \`limits.packetSize\` is \`ONEHOP_LIMITS__PACKET_SIZE\`. An unknown \`ONEHOP_\` variable is an error, so a typing mistake never passes in silence.
  (The variables that Kubernetes adds for a Service named \`onehop…\`, such as \`ONEHOP_SERVICE_HOST\`, are left alone.)
- Command line: \`onehop start --set limits.packetSize=2MiB --set log.level=debug\`.
- A list is written as YAML: \`ONEHOP_LISTENERS='[{ type: tcp, bind: 0.0.0.0:1883 }]'\`. A key of type text takes the value as it stands.

## When something is wrong

Every problem is one line that names the file and line, the variable or the option. The exit code is 2; it is 1 when the file cannot be read or a
port is in use.

\`\`\`text
onehop.yaml:3: limits.packetsize: unknown key; did you mean limits.packetSize?
ONEHOP_QUEUE__QOS0: expected true or false, not "yes"
\`\`\`
`;

function row(key: ConfigKey): string {
  const cells = [`\`${key.path}\``, key.type, key.default === '' ? 'empty' : `\`${key.default}\``, key.text, `\`${key.env}\``];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** Keys of what is in a list, which have no environment variable each. */
function listTable(keys: readonly (KeyFacts & { readonly path: string })[]): string {
  const rows = keys.map(
    ({ path, type, default: standard, text }) =>
      `| \`${path}\` | ${type.replaceAll('|', '\\|')} | ${standard === '' ? 'must be written' : `\`${standard}\``} | ${text} |`,
  );
  return ['| key | type | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

const listenerExample = `\`\`\`yaml
listeners:
  - { type: tcp, bind: 127.0.0.1:1883 }
  - type: tls
    bind: '[::]:8883'
    tls:
      certificates:
        - { chain: server.pem, key: server-key.pem }
  - { type: ws, bind: 127.0.0.1:8083, webSocket: { origins: ['https://console.example.com'] } }
  - { type: unix, bind: /run/onehop.sock }
\`\`\``;

/** The whole page in Markdown. */
export function configurationPage(): string {
  const groups = new Map<string, string[]>();
  for (const key of configKeys().keys) {
    const parts = key.path.split('.');
    const title = parts.length === 1 ? 'Top level' : `\`${parts.slice(0, -1).join('.')}\``;
    const rows = groups.get(title) ?? ['| key | type | default | meaning | environment variable |', '| --- | --- | --- | --- | --- |'];
    groups.set(title, [...rows, row(key)]);
  }
  const sections = [...groups].map(([title, rows]) => `### ${title}\n\n${rows.join('\n')}\n`);
  return `${introduction}\n## Keys\n\n${sections.join('\n')}\n## Listeners\n\n${listenerExample}\n\n${listTable(listenerKeys())}\n\n## Statements\n\nThe keys of an entry of \`authorization.statements\`. What they mean together: [authorization.md](authorization.md).\n\n${listTable(statementKeys())}\n`;
}
