/**
 * Policies: the statements by which clients are judged, in their order, and a tester that says which of them decides.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, ask } from '../api.ts';
import { any, NONE, words } from '../format.ts';
import { confirmed, Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { attempt, say } from '../parts/notices.tsx';
import { Table } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';
import { Tester } from './policy-tester.tsx';
import { StatementForm } from './statement-form.tsx';
import type { Written } from './statement-keys.ts';

interface Statement {
  /** Its place among all: the first that matches decides. */
  readonly index: number;
  /** Those of the configuration are changed in its file only. */
  readonly source: 'configuration' | 'file';
  readonly name?: string;
  readonly effect: 'allow' | 'deny';
  readonly resource?: string;
  readonly actions: readonly string[];
  readonly [key: string]: unknown;
}

interface Policies {
  /** There are no statements, and everyone may do everything. */
  readonly isOpen: boolean;
  /** Null: nothing can be changed here. */
  readonly file: string | null;
  readonly revision: string | null;
  readonly data: readonly Statement[];
}

interface Edited {
  /** Null: a new one. */
  readonly index: number | null;
  readonly written: Written;
}

const PATH = '/api/v1/policies';
const EMPTY: Written = { effect: 'allow', actions: [] };
/** What the list says of a statement beside what is written in it. */
const LISTED = ['index', 'source'];
/** Columns of their own. */
const SHOWN = [...LISTED, 'name', 'effect', 'actions', 'resource'];

function given(statement: object, without: readonly string[]): [string, unknown][] {
  return Object.entries(statement).filter(([name, value]) => !without.includes(name) && value !== null && value !== undefined);
}

function writtenIn(statement: Statement): Written {
  return Object.fromEntries(given(statement, LISTED));
}

function conditions(statement: Statement): string {
  return (
    given(statement, SHOWN)
      .map(([name, value]) => `${words(name)}: ${any(value)}`)
      .join('; ') || 'always'
  );
}

export function PoliciesPage(): VNode {
  return (
    <>
      <h1>Policies</h1>
      <Tester />
      <Statements />
    </>
  );
}

function Statements(): VNode {
  const { data, error, reload } = useAsked<Policies>(PATH);
  const [edited, setEdited] = useState<Edited | null>(null);
  const failure = error !== null && (
    <>
      <Failure error={error} what="a list of its statements" />
      {error.status !== 501 && (
        <button type="button" class="small secondary" onClick={reload}>
          Try again
        </button>
      )}
    </>
  );
  if (data === null) return failure === false ? <p aria-busy="true">Loading</p> : <section aria-label="Statements">{failure}</section>;
  const { file, revision, isOpen } = data;
  const own = data.data.filter(({ source }) => source === 'file');
  const mayChange = mayAs('admin') && file !== null;
  // Whoever else has changed something meanwhile is not overwritten: the broker says so.
  const change = async (method: string, path: string, body: unknown, done: string): Promise<void> => {
    await attempt(() => ask(method, path, { query: { revision }, ...(body !== undefined && { body }) }), done);
    reload();
  };
  const remove = async (index: number): Promise<void> => {
    if (!(await confirmed(`Remove statement ${index + 1}?`, 'Clients are judged without it at once.', 'Remove'))) return;
    await change('DELETE', `${PATH}/${index}`, undefined, `Statement ${index + 1} is removed`);
  };
  const move = (from: number, to: number): void => void change('POST', `${PATH}/${from}/move`, { index: to }, 'The order is changed');
  return (
    <section aria-labelledby="statements">
      <div class="heading">
        <h2 id="statements">Statements</h2>
        {mayChange && (
          <button type="button" onClick={() => setEdited({ index: null, written: EMPTY })}>
            Add
          </button>
        )}
      </div>
      {failure}
      <p>They are read from the top, and the first that matches decides. Where none does, the answer is no.</p>
      {file === null && <p class="hint">They can be changed here where the configuration names a file for them (authorization.file).</p>}
      <Table<Statement>
        caption="Statements"
        rows={data.data}
        rowKey={({ index }) => String(index)}
        empty={isOpen ? 'There are no statements: everyone may do everything.' : 'The list is empty: nobody may do anything.'}
        columns={[
          { title: 'No.', cell: ({ index }) => index + 1, isNumber: true },
          { title: 'Effect', cell: ({ effect }) => <span class={`badge ${effect}`}>{effect}</span> },
          { title: 'Actions', cell: ({ actions, resource }) => `${actions.join(', ')}${resource === 'p2p' ? ' (P2P)' : ''}` },
          { title: 'Conditions', cell: conditions, isLong: true },
          { title: 'Name', cell: ({ name }) => name ?? NONE },
          { title: 'From', cell: ({ source }) => source },
          {
            title: '',
            cell: (one) => {
              const { index, source } = one;
              if (!mayChange || source !== 'file') return null;
              return (
                <span class="buttons">
                  <button
                    type="button"
                    class="small outline"
                    disabled={one === own[0]}
                    aria-label={`Move statement ${index + 1} up`}
                    onClick={() => move(index, index - 1)}
                  >
                    ↑
                  </button>
                  <button
                    type="button"
                    class="small outline"
                    disabled={one === own.at(-1)}
                    aria-label={`Move statement ${index + 1} down`}
                    onClick={() => move(index, index + 1)}
                  >
                    ↓
                  </button>
                  <button
                    type="button"
                    class="small outline"
                    aria-label={`Change statement ${index + 1}`}
                    onClick={() => setEdited({ index, written: writtenIn(one) })}
                  >
                    Change
                  </button>
                  <button
                    type="button"
                    class="small danger outline"
                    aria-label={`Remove statement ${index + 1}`}
                    onClick={() => void remove(index)}
                  >
                    Remove
                  </button>
                </span>
              );
            },
          },
        ]}
      />
      {edited !== null && (
        <Dialog title={edited.index === null ? 'New statement' : `Statement ${edited.index + 1}`} onClose={() => setEdited(null)}>
          <Editor
            edited={edited}
            revision={revision}
            own={own}
            first={data.data.length - own.length + 1}
            reload={reload}
            done={() => {
              setEdited(null);
              reload();
            }}
          />
        </Dialog>
      )}
    </section>
  );
}

interface EditorFacts {
  readonly edited: Edited;
  readonly revision: string | null;
  /** Those that can be changed, as they are now. */
  readonly own: readonly Statement[];
  /** Least place that one may have, from 1. */
  readonly first: number;
  readonly reload: () => void;
  readonly done: () => void;
}

/** What is typed stays when somebody else changes the statements meanwhile: they are asked again, and the one that is edited is looked for among them. */
function Editor({ edited: { index, written: before }, revision, own, first, reload, done }: EditorFacts): VNode {
  const isSame = (one: Statement): boolean => JSON.stringify(writtenIn(one)) === JSON.stringify(before);
  const found = index === null ? undefined : (own.find((one) => one.index === index && isSame(one)) ?? own.find(isSame));
  const isGone = index !== null && found === undefined;
  const last = first + own.length - (found === undefined ? 0 : 1);
  const place = index === null ? last : index + 1;
  const [opened] = useState(place);
  const [isLate, setLate] = useState(false);
  const save = async (written: Written, to: number): Promise<void> => {
    try {
      if (found === undefined) await ask('POST', PATH, { query: { revision }, body: { statement: written, index: to - 1 } });
      else {
        const gone = Object.keys(before).filter((name) => !(name in written));
        const patch = { ...written, ...Object.fromEntries(gone.map((name) => [name, null])) };
        // One request: at no time are clients judged by half of the change.
        await ask('PATCH', `${PATH}/${found.index}`, { query: { revision, index: to === opened ? null : to - 1 }, body: patch });
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) {
        setLate(true);
        reload();
      }
      throw error;
    }
    say(found === undefined ? 'The statement holds' : 'The statement is changed');
    done();
  };
  const note = (isGone || isLate) && (
    <p role="status">
      {isGone
        ? 'Somebody else has changed or removed this statement. What you have typed is still here: Save adds it as a new one, and leaves the other as it is.'
        : 'Somebody else has changed other statements, and the list is read again. What you have typed is still here: Save saves it.'}
    </p>
  );
  return <StatementForm written={before} place={opened} first={first} last={last} note={note} save={save} />;
}
