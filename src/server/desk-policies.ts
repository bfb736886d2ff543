/**
 * What the API does with statements. Those of the configuration can be read only; those of `authorization.file`, which come behind them, can be changed.
 *
 * A statement is meant by its name, or by its place among all of them, which is also what the log calls it.
 */
import type { StatementSettings } from '../base/settings.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import { writtenStatement } from './authorization-schema.ts';
import type { StatementEdit, StatementPlace } from './edits.ts';
import type { WrittenStatement } from './statement-file.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** What a change may be. Places are those among all statements. */
export type PolicyEdit =
  | { readonly kind: 'replace'; readonly statements: readonly WrittenStatement[] }
  | { readonly kind: 'insert'; readonly at: number | null; readonly statement: WrittenStatement }
  | { readonly kind: 'change'; readonly at: string; readonly patch: WrittenStatement; readonly to: number | null }
  | { readonly kind: 'move'; readonly at: string; readonly to: number }
  | { readonly kind: 'remove'; readonly at: string };

/** Names what is answered. */
export function policyAsks(desk: AskDesk, parts: SupervisorParts): void {
  const { live, editor } = parts;
  desk.handle('policies/list', () => listOf(parts));
  desk.handle('policies/change', async ({ edit, revision }: { edit: PolicyEdit; revision: string | null }) => {
    const file = live.config.settings.authorization.file ?? '';
    if (file === '')
      throw new Refusal('not-implemented', 'there is no file of statements: configure authorization.file: ./statements.json');
    const { at } = await editor.run('statements', { file, revision, edit: inFile(parts, edit) });
    try {
      live.readStatements();
    } catch (error) {
      throw new Refusal('unavailable', `the statements were written, but cannot be read: ${(error as Error).message}`);
    }
    await parts.settled();
    return { ...listOf(parts), index: at < 0 ? null : at + live.ownStatements };
  });
}

function listOf({ live }: SupervisorParts): object {
  const { authorization } = live.current;
  const own = live.ownStatements;
  const statements: readonly StatementSettings[] = authorization.statements ?? [];
  return {
    isOpen: authorization.statements === null,
    deniedV3: authorization.deniedV3,
    file: authorization.file || null,
    revision: live.statements?.revision ?? null,
    data: statements.map((statement, index) => ({
      index,
      source: index < own ? 'configuration' : 'file',
      ...writtenStatement(statement),
    })),
    next: null,
    total: statements.length,
  };
}

/** The same change, by places in the file. @throws Refusal where it is about a statement of the configuration */
function inFile({ live }: SupervisorParts, edit: PolicyEdit): StatementEdit {
  const own = live.ownStatements;
  const refuse = (): never => {
    throw new Refusal('conflict', `the first ${own} statements stand in the configuration; change them there, and send SIGHUP`);
  };
  const within = (at: number): number => (at < own ? refuse() : at - own);
  if (edit.kind === 'replace') return edit;
  if (edit.kind === 'insert') return { ...edit, at: edit.at === null ? null : within(edit.at) };
  let at: StatementPlace = edit.at;
  if (/^\d+$/.test(edit.at)) at = within(Number(edit.at));
  else if (live.current.authorization.statements?.slice(0, own).some(({ name }) => name === edit.at) === true) refuse();
  if (edit.kind === 'change') return { ...edit, at, to: edit.to === null ? null : within(edit.to) };
  if (edit.kind === 'move') return { ...edit, at, to: within(edit.to) };
  return { ...edit, at };
}
