/**
 * Records: a list of things that an admin adds, changes and removes, such as users and block rules. A page says which; this does what is alike.
 */
import type { ComponentChildren, VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, type Query } from '../api.ts';
import { mayAs, type Role } from '../session.ts';
import { confirmed, Dialog } from './dialog.tsx';
import { List } from './list.tsx';
import { attempt } from './notices.tsx';
import type { Column } from './table.tsx';

interface RecordsFacts<T> {
  readonly title: string;
  readonly intro?: ComponentChildren;
  readonly path: string;
  readonly query?: Query;
  /** As in “user”. */
  readonly one: string;
  /** As in “users”. */
  readonly many: string;
  readonly columns: readonly Column<T>[];
  readonly nameOf: (record: T) => string;
  /** Where a record is removed; absent: it is not. */
  readonly removePath?: (record: T) => string;
  readonly removeText?: (record: T) => string;
  readonly removeAction?: string;
  /** @param record null for a new one; @param done closes the form, and the list is asked again; absent: none is added or changed */
  readonly form?: (record: T | null, done: () => void) => VNode;
  readonly canChange?: boolean;
  /** Least role that changes something. */
  readonly needs?: Role;
  /** Beside the list. */
  readonly filter?: VNode;
}

export function Records<T>(facts: RecordsFacts<T>): VNode {
  const {
    title,
    intro,
    path,
    query,
    one,
    many,
    nameOf,
    removePath,
    removeText,
    removeAction = 'Remove',
    form,
    canChange = true,
    needs = 'admin',
  } = facts;
  const [edited, setEdited] = useState<{ readonly record: T | null } | null>(null);
  const [changes, setChanges] = useState(0);
  const may = mayAs(needs);
  const changed = (): void => {
    setEdited(null);
    setChanges((value) => value + 1);
  };
  const remove = async (record: T): Promise<void> => {
    const name = nameOf(record);
    const text = removeText?.(record) ?? 'This cannot be taken back.';
    if (!(await confirmed(`${removeAction} ${one} ${name}?`, text, removeAction))) return;
    if (await attempt(() => ask('DELETE', removePath!(record)), `${name}: done`)) changed();
  };
  const columns: Column<T>[] = [...facts.columns];
  if (may && (removePath !== undefined || (form !== undefined && canChange)))
    columns.push({
      title: '',
      cell: (record) => (
        <span class="buttons">
          {form !== undefined && canChange && (
            <button type="button" class="small outline" aria-label={`Change ${nameOf(record)}`} onClick={() => setEdited({ record })}>
              Change
            </button>
          )}
          {removePath !== undefined && (
            <button
              type="button"
              class="small danger outline"
              aria-label={`${removeAction} ${nameOf(record)}`}
              onClick={() => void remove(record)}
            >
              {removeAction}
            </button>
          )}
        </span>
      ),
    });
  return (
    <>
      <div class="heading">
        <h1>{title}</h1>
        {may && form !== undefined && (
          <button type="button" onClick={() => setEdited({ record: null })}>
            Add
          </button>
        )}
      </div>
      {intro}
      {facts.filter}
      <List<T>
        path={path}
        {...(query !== undefined && { query })}
        what={many}
        caption={title}
        empty={`There are no ${many}.`}
        rowKey={nameOf}
        columns={columns}
        changes={changes}
      />
      {edited !== null && form !== undefined && (
        <Dialog title={edited.record === null ? `New ${one}` : `${nameOf(edited.record)}`} onClose={() => setEdited(null)}>
          {form(edited.record, changed)}
        </Dialog>
      )}
    </>
  );
}

/** `a: b` in lines, as people write attributes. */
export function pairsText(pairs: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(pairs ?? {})
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
}

export function readPairs(text: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) pairs[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
  }
  return pairs;
}

/** Items behind commas or in lines. */
export function readItems(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((item) => item.trim())
    .filter(Boolean);
}
