/**
 * Records: a list of things that are added, changed and removed, such as users and retained messages. A page says which; this does what is alike.
 */
import type { ComponentChildren, VNode } from 'preact';
import { useId, useState } from 'preact/hooks';
import { ask, type Query } from '../api.ts';
import { isolated } from '../format.ts';
import { mayAs, type Role } from '../session.ts';
import { answered, Dialog } from './dialog.tsx';
import { List } from './list.tsx';
import { attempt } from './notices.tsx';
import type { Column } from './table.tsx';

interface Removal<T> {
  readonly path: (record: T) => string;
  /** What becomes of it then. */
  readonly text: (record: T) => string;
  /** What may be done with it: its name in the query, and in words. */
  readonly option?: readonly [name: string, text: string];
  /** What the button says; absent: Remove. */
  readonly action?: string;
  readonly title?: string;
  /** @param answer of the API */
  readonly done: (record: T, answer: unknown) => string;
}

interface RecordsFacts<T> {
  readonly title: string;
  /** A part of a page, and not the page itself. */
  readonly isPart?: boolean;
  readonly intro?: ComponentChildren;
  readonly path: string;
  readonly query?: Query;
  /** The API has no pages of it: it comes whole. */
  readonly isWhole?: boolean;
  /** As in “user”. */
  readonly one: string;
  /** As in “users”. */
  readonly many: string;
  /** What it is that a broker may not offer; absent: the many. */
  readonly what?: string;
  /** Said when there is none. */
  readonly empty?: string;
  readonly columns: readonly Column<T>[];
  /** What people call it. */
  readonly nameOf: (record: T) => string;
  /** What no other has; absent: its name. */
  readonly keyOf?: (record: T) => string;
  /** Absent: none is removed. */
  readonly removal?: Removal<T>;
  /** @param record null for a new one; @param done closes the form, and the list is asked again; absent: none is added or changed */
  readonly form?: (record: T | null, done: () => void) => VNode;
  /** Where one record is asked for before it is changed: since the list was shown somebody else may have changed it. */
  readonly pathOf?: (record: T) => string;
  readonly canAdd?: boolean;
  readonly canChange?: boolean;
  /** This one stays as it is. */
  readonly isFixed?: (record: T) => boolean;
  readonly addAction?: string;
  /** Buttons of its own for a record. @param changed the list is asked again */
  readonly actions?: (record: T, changed: () => void) => ComponentChildren;
  /** Least role that adds, changes and removes. */
  readonly needs?: Role;
  /** Above the list. */
  readonly filter?: VNode;
  readonly everySeconds?: number;
}

export function Records<T>(facts: RecordsFacts<T>): VNode {
  const { title, isPart = false, intro, path, query, one, many, columns, nameOf, keyOf = nameOf } = facts;
  const { removal, form, canAdd = true, canChange = true, isFixed, actions, needs = 'admin', everySeconds = 0, isWhole = false } = facts;
  const id = useId();
  const [edited, setEdited] = useState<{ readonly record: T | null } | null>(null);
  const [changes, setChanges] = useState(0);
  const [isOffered, setOffered] = useState(true);
  const may = mayAs(needs);
  const changed = (): void => {
    setEdited(null);
    setChanges((value) => value + 1);
  };
  const change = async (record: T): Promise<void> => {
    const path = facts.pathOf?.(record);
    if (path === undefined) setEdited({ record });
    else if (!(await attempt(async () => setEdited({ record: await ask<T>('GET', path) }), ''))) changed();
  };
  const canEdit = may && form !== undefined && canChange;
  const canRemove = may && removal !== undefined;
  const hasButtons = actions !== undefined || canEdit || canRemove;
  const buttons = (record: T): VNode => (
    <span class="buttons">
      {actions?.(record, changed)}
      {canEdit && isFixed?.(record) !== true && (
        <button type="button" class="small outline" aria-label={`Change ${nameOf(record)}`} onClick={() => void change(record)}>
          Change
        </button>
      )}
      {canRemove && isFixed?.(record) !== true && (
        <RemoveButton of={record} name={nameOf(record)} one={one} removal={removal} done={changed} />
      )}
    </span>
  );
  const Heading = isPart ? 'h2' : 'h1';
  return (
    <section aria-labelledby={id}>
      <div class="heading">
        <Heading id={id}>{title}</Heading>
        {may && form !== undefined && canAdd && isOffered && (
          <button type="button" onClick={() => setEdited({ record: null })}>
            {facts.addAction ?? 'Add'}
          </button>
        )}
      </div>
      {intro}
      {facts.filter}
      <List<T>
        path={path}
        {...(query !== undefined && { query })}
        isWhole={isWhole}
        what={facts.what ?? many}
        caption={title}
        empty={facts.empty ?? `There are no ${many}.`}
        rowKey={keyOf}
        columns={hasButtons ? [...columns, { title: '', cell: buttons }] : columns}
        changes={changes}
        offered={setOffered}
        everySeconds={everySeconds}
        isInAddress={!isPart}
      />
      {edited !== null && form !== undefined && (
        <Dialog title={edited.record === null ? `New ${one}` : nameOf(edited.record)} onClose={changed}>
          {form(edited.record, changed)}
        </Dialog>
      )}
    </section>
  );
}

interface RemoveFacts<T> {
  readonly of: T;
  readonly name: string;
  readonly one: string;
  readonly removal: Removal<T>;
  readonly done: () => void;
}

function RemoveButton<T>({ of: record, name, one, removal, done }: RemoveFacts<T>): VNode {
  const { action = 'Remove', option } = removal;
  const remove = async (): Promise<void> => {
    const answer = await answered({
      title: removal.title ?? `${action} ${one} ${isolated(name)}?`,
      text: removal.text(record),
      action,
      option: option?.[1],
    });
    if (answer === null) return;
    const query = option !== undefined && answer.isChosen ? { [option[0]]: true } : {};
    const isDone = await attempt(
      () => ask('DELETE', removal.path(record), { query }),
      (result) => removal.done(record, result),
    );
    if (isDone) done();
  };
  return (
    <button type="button" class="small danger outline" aria-label={`${action} ${name}`} onClick={() => void remove()}>
      {action}
    </button>
  );
}
