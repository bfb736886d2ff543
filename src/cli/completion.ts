/**
 * `onehop completion`: what a shell offers when Tab is pressed, from the tree of commands.
 *
 * The scripts only carry words to `onehop complete` and choices back, so they never offer what this version does not have. Invariant: a word that is being typed is passed on as it is
 * and never evaluated; nothing is asked of a broker. Where nothing is known the shell offers files.
 */
import type { Argument, Command, Option } from 'commander';

export interface Choice {
  readonly value: string;
  readonly description: string;
}

const SCRIPTS = {
  bash: `# bash completion for onehop: source <(onehop completion bash)
_onehop() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <(onehop complete --plain -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _onehop onehop
`,
  zsh: `#compdef onehop
# zsh completion for onehop: source <(onehop completion zsh)
_onehop() {
  local -a choices
  local value description
  while IFS=$'\\t' read -r value description; do
    choices+=("\${value//:/\\\\:}:\${description}")
  done < <(onehop complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#choices} )); then
    _describe onehop choices
  else
    _files
  fi
}
compdef _onehop onehop
`,
  fish: `# fish completion for onehop: onehop completion fish | source
function __onehop_choices
  set -l words (commandline -opc) (commandline -ct)
  set -l choices (onehop complete -- $words[2..-1] 2>/dev/null)
  if set -q choices[1]
    printf '%s\\n' $choices
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c onehop -f -a '(__onehop_choices)'
`,
} as const;

export const SHELLS: readonly string[] = Object.keys(SCRIPTS);

/** The script of a shell. */
export function completionScript(shell: string): string {
  return SCRIPTS[shell as keyof typeof SCRIPTS];
}

/** What may stand in place of the last word. @param words those after the name of the program, the last one unfinished */
export function choicesFor(root: Command, words: readonly string[]): readonly Choice[] {
  const whole = rejoined(words);
  const last = whole.at(-1) ?? '';
  const { command, option, position, isOptionsOver } = reached(root, whole.slice(0, -1));
  const at = last.indexOf('=');
  if (option !== null) return beginning(values(option), last);
  if (last.startsWith('--') && at > 0 && !isOptionsOver) {
    const named = optionsOf(command).find(({ long }) => long === last.slice(0, at));
    const found = named === undefined ? [] : beginning(values(named), last.slice(at + 1));
    // bash takes what is behind = for a word of its own, as it came.
    return words.at(-1) === last ? found.map((one) => ({ ...one, value: `${last.slice(0, at + 1)}${one.value}` })) : found;
  }
  if (last.startsWith('-') && !isOptionsOver) return beginning(optionsOf(command).map(optionChoice), last);
  const commands = position > 0 ? [] : shownBelow(command).map((child) => ({ value: child.name(), description: child.description() }));
  const argument = command.registeredArguments[position] ?? command.registeredArguments.at(-1);
  const isTaken = argument === undefined || (position >= command.registeredArguments.length && !argument.variadic);
  return beginning([...commands, ...(isTaken ? [] : values(argument))], last);
}

/** Every command that is shown, with the words that call it. */
export function* commandsBelow(
  command: Command,
  path: readonly string[],
): Generator<{ readonly path: readonly string[]; readonly command: Command }> {
  for (const child of shownBelow(command)) {
    const below = [...path, child.name()];
    yield { path: below, command: child };
    yield* commandsBelow(child, below);
  }
}

function shownBelow(command: Command): readonly Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
}

/** `--state`, `=`, `con`, as bash cuts words, is `--state=con`. */
function rejoined(words: readonly string[]): string[] {
  const whole: string[] = [];
  for (const [at, word] of words.entries()) {
    const isValue = words[at - 1] === '=' && words[at - 2]?.startsWith('--') === true;
    if (whole.length > 0 && ((word === '=' && words[at - 1]?.startsWith('--') === true) || isValue)) whole[whole.length - 1] += word;
    else whole.push(word);
  }
  return whole;
}

/** Where finished words lead: the command, the option whose value comes next, and how many arguments have been. */
function reached(
  root: Command,
  words: readonly string[],
): { readonly command: Command; readonly option: Option | null; readonly position: number; readonly isOptionsOver: boolean } {
  let command = root;
  let option: Option | null = null;
  let position = 0;
  let isOptionsOver = false;
  for (const word of words) {
    if (option !== null) option = null;
    else if (isOptionsOver) position++;
    else if (word === '--') isOptionsOver = true;
    else if (word.startsWith('-')) {
      const found = optionsOf(command).find(({ long, short }) => long === word || short === word);
      option = found !== undefined && (found.required || found.optional) ? found : null;
    } else {
      const child: Command | undefined = position > 0 ? undefined : command.commands.find((one) => one.name() === word);
      if (child === undefined) position++;
      else command = child;
    }
  }
  return { command, option, position, isOptionsOver };
}

/** Those of the command, and of the one below it that is meant where none is named. */
function optionsOf(command: Command): readonly Option[] {
  const { _defaultCommandName: name } = command as unknown as { readonly _defaultCommandName: string | null };
  const standard = name === null ? undefined : command.commands.find((child) => child.name() === name);
  const help = command.createHelp();
  const own = help.visibleOptions(command);
  const names = new Set(own.map(({ long }) => long));
  return standard === undefined ? own : [...own, ...help.visibleOptions(standard).filter(({ long }) => !names.has(long))];
}

function optionChoice({ long, short, description }: Option): Choice {
  return { value: long ?? short!, description };
}

function values(of: Option | Argument): Choice[] {
  return (of.argChoices ?? []).map((value) => ({ value, description: of.description }));
}

function beginning(choices: readonly Choice[], text: string): Choice[] {
  return choices.filter(({ value }) => value.startsWith(text));
}
