/**
 * The page of the command line, written from the help of its commands: `docs/command-line.md`.
 *
 * Nothing here runs with a command; `npm run docs` writes the page, and CI compares it.
 */
import type { Command } from 'commander';
import { commandsBelow } from './completion.ts';
import { program } from './program.ts';

/** Columns of the help on the page. */
const WIDTH = 120;

const introduction = `# Command line

<!-- Written by \`npm run docs\` from the commands in src/cli. Change them there. -->

\`onehop\` runs the broker, keeps its files, speaks MQTT as a client, and sees and steers a running broker over its [HTTP API](http-api.md).

## Exit codes

| code | what |
| --- | --- |
| 0 | It is done. |
| 1 | It could not be done: the broker is not there, says no, or what was to be confirmed was not. Standard error has a line for people. |
| 2 | The command line or the configuration is wrong. Nothing was done. |

## Commands on the HTTP API

\`clients\`, \`kick\`, \`subs\`, \`publish\`, \`p2p --confirm\`, \`trace\`, \`top\`, \`alarms\`, \`authenticators\` and \`api\` need an HTTP listener and an API key:

\`\`\`sh
onehop start --set 'listeners=[{ type: tcp, bind: 127.0.0.1:1883 }, { type: http, bind: 127.0.0.1:8080 }]'
mkdir -p ~/.config/onehop && (umask 077; onehop apikey add laptop --role operator > ~/.config/onehop/key)
onehop top
\`\`\`

| what | from |
| --- | --- |
| address | \`--url\`, else \`ONEHOP_URL\`, else \`http://127.0.0.1:8080\`. \`https://\` trusts what Node trusts; \`NODE_EXTRA_CA_CERTS\` names more. \`http://name:password@host\` logs in by name and password. |
| key | \`--key\`, else \`ONEHOP_API_KEY\`, else \`~/.config/onehop/key\` (\`$XDG_CONFIG_HOME/onehop/key\`), which only its owner may be able to read. A token that the authenticators take will do, too. |

On a terminal lists are tables as wide as it is. Into a pipe they are never cut, and have no colours; nor have they with \`NO_COLOR\`. Characters of client IDs and topics that could steer a terminal are written out.
\`--json\` is for programs: one document, or a line for each item of a list, with the names of the [HTTP reference](http-reference.md).

\`\`\`sh
onehop clients --all --json | jq -r 'select(.queued > 100) | .clientId'
onehop clients --prefix test- --json | jq -r .clientId | xargs onehop kick --session
\`\`\`

## Completion

\`\`\`sh
source <(onehop completion bash)                                          # this shell; in ~/.bashrc for all
onehop completion zsh > ~/.zsh/_onehop && echo 'source ~/.zsh/_onehop' >> ~/.zshrc
onehop completion fish > ~/.config/fish/completions/onehop.fish
\`\`\`
`;

/** The page. */
export function commandLinePage(): string {
  const root = program(() => {});
  const parts = [introduction];
  for (const { path, command } of commandsBelow(root, [])) {
    if (path.length === 1) parts.push(`## onehop ${path.join(' ')}`);
    else parts.push(`### onehop ${path.join(' ')}`);
    parts.push(`\`\`\`text\n${helpOf(command)}\n\`\`\``);
  }
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`;
}

/** As `--help` prints it. */
function helpOf(command: Command): string {
  let text = '';
  command.configureHelp({ helpWidth: WIDTH }).configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}
