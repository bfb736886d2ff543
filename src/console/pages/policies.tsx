/**
 * Policies: the statements by which clients are judged, in their order, and a tester that says which of them decides.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { any, NONE, words } from '../format.ts';
import { confirmed, Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Area, Check, Choice, Field, Form, QOS_OPTIONS } from '../parts/fields.tsx';
import { attempt, failureText } from '../parts/notices.tsx';
import { readPairs } from '../parts/records.tsx';
import { Table } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

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
  readonly written: Readonly<Record<string, unknown>>;
}

const PATH = '/api/v1/policies';
const EXAMPLE = { effect: 'allow', actions: ['publish', 'subscribe'], topics: ['fleet/${ClientId}/#'] };
/** What the list says of a statement beside what is written in it. */
const LISTED = ['index', 'source'];
/** Columns of their own. */
const SHOWN = [...LISTED, 'name', 'effect', 'actions', 'resource'];

function given(statement: object, without: readonly string[]): [string, unknown][] {
  return Object.entries(statement).filter(([name, value]) => !without.includes(name) && value !== null && value !== undefined);
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
  if (error !== null) return <Failure error={error} what="a list of its statements" />;
  if (data === null) return <p aria-busy="true">Loading</p>;
  const { file, revision, isOpen } = data;
  const own = data.data.filter(({ source }) => source === 'file');
  const mayChange = mayAs('admin') && file !== null;
  // Whoever else has changed something meanwhile is not overwritten: the broker says so.
  const change = async (method: string, path: string, body: unknown, done: string): Promise<boolean> => {
    const isDone = await attempt(() => ask(method, path, { query: { revision }, ...(body !== undefined && { body }) }), done);
    reload();
    return isDone;
  };
  const save = async (written: Readonly<Record<string, unknown>>): Promise<void> => {
    let isDone: boolean;
    if (edited!.index === null) isDone = await change('POST', PATH, { statement: written }, 'The statement holds');
    else {
      const gone = Object.keys(edited!.written).filter((name) => !(name in written));
      const patch = { ...written, ...Object.fromEntries(gone.map((name) => [name, null])) };
      isDone = await change('PATCH', `${PATH}/${edited!.index}`, patch, 'The statement is changed');
    }
    if (isDone) setEdited(null);
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
          <button type="button" onClick={() => setEdited({ index: null, written: EXAMPLE })}>
            Add
          </button>
        )}
      </div>
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
                    onClick={() => setEdited({ index, written: Object.fromEntries(given(one, LISTED)) })}
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
          <StatementForm text={JSON.stringify(edited.written, null, 2)} save={save} />
        </Dialog>
      )}
    </section>
  );
}

function StatementForm({
  text,
  save,
}: {
  readonly text: string;
  readonly save: (written: Readonly<Record<string, unknown>>) => Promise<void>;
}): VNode {
  const [value, setValue] = useState(text);
  const [failure, setFailure] = useState('');
  const submit = (): void => {
    try {
      setFailure('');
      void save(JSON.parse(value) as Record<string, unknown>);
    } catch (error) {
      setFailure(`This is no JSON: ${(error as Error).message}`);
    }
  };
  return (
    <Form label="Statement" onSubmit={submit}>
      <Area label="Statement in JSON" value={value} onInput={setValue} rows={12} hint="As in the configuration, in JSON." isCode />
      {failure !== '' && (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      <button type="submit">Save</button>
    </Form>
  );
}

interface Verdict {
  readonly allowed: boolean;
  /** Who or what has decided. */
  readonly by: string;
  /** Place of the statement; null: none. */
  readonly statement: number | null;
  /** The statement as JSON, or why. */
  readonly text: string;
}

/** What an action is about: its name in the request, and for people. */
const OBJECTS: Readonly<Record<string, readonly [name: string, label: string]>> = {
  publish: ['topic', 'Topic'],
  subscribe: ['filter', 'Filter'],
  p2p: ['target', 'Target'],
  observe: ['filter', 'Filter'],
};

const REASONS: Readonly<Record<string, string>> = {
  default: 'No statement matches.',
  'no-statements': 'There are no statements.',
  superuser: 'Superusers are not judged.',
  broker: 'The broker itself does not allow it.',
};

function Tester(): VNode {
  const [clientId, setClientId] = useState('');
  const [username, setUsername] = useState('');
  const [address, setAddress] = useState('');
  const [attributes, setAttributes] = useState('');
  const [action, setAction] = useState('publish');
  const [subject, setSubject] = useState('');
  const [qos, setQos] = useState('0');
  const [isRetained, setRetained] = useState(false);
  const [verdict, setVerdict] = useState<Verdict | string | null>(null);
  const object = OBJECTS[action];
  const test = async (): Promise<void> => {
    const pairs = readPairs(attributes);
    const body = {
      clientId,
      ...(username !== '' && { username }),
      ...(address !== '' && { address }),
      ...(Object.keys(pairs).length > 0 && { attributes: pairs }),
      action,
      ...(object !== undefined && { [object[0]]: subject, qos: Number(qos) }),
      ...(action === 'publish' && { retain: isRetained }),
    };
    try {
      setVerdict(await ask<Verdict>('POST', `${PATH}/test`, { body }));
    } catch (error) {
      setVerdict(failureText(error));
    }
  };
  return (
    <section aria-labelledby="tester">
      <h2 id="tester">Who may do what?</h2>
      <Form label="Who may do what" onSubmit={test}>
        <div class="grid">
          <Field label="Client ID" value={clientId} onInput={setClientId} required isSearch />
          <Field label="Username" value={username} onInput={setUsername} />
          <Field label="Address" value={address} onInput={setAddress} placeholder="10.0.0.7" />
        </div>
        <div class="grid">
          <Choice
            label="Wants to"
            value={action}
            options={[
              ['publish', 'publish to a topic'],
              ['subscribe', 'subscribe to a filter'],
              ['p2p', 'write to a client (P2P)'],
              ['observe', "observe a client's P2P messages"],
              ['connect', 'connect'],
            ]}
            onInput={setAction}
          />
          {object !== undefined && <Field label={object[1]} value={subject} onInput={setSubject} required />}
          {object !== undefined && <Choice label="QoS" value={qos} options={QOS_OPTIONS} onInput={setQos} />}
        </div>
        {action === 'publish' && <Check label="As a retained message" isChecked={isRetained} onInput={setRetained} />}
        <details>
          <summary>Attributes</summary>
          <Area
            label="Attributes of the client"
            value={attributes}
            onInput={setAttributes}
            rows={3}
            hint="One in a line, such as group: pumps"
            isCode
          />
        </details>
        <button type="submit">Test</button>
      </Form>
      <div role="status" aria-live="polite" class="outcome">
        {typeof verdict === 'string' && <p class="failure">{verdict}</p>}
        {verdict !== null && typeof verdict === 'object' && (
          <article class={verdict.allowed ? 'good' : 'bad'}>
            <p>
              <strong>{verdict.allowed ? 'Allowed' : 'Not allowed'}</strong>
              {verdict.statement === null ? `: ${REASONS[verdict.by] ?? verdict.by}` : ` by statement ${verdict.statement + 1}`}
            </p>
            <pre class="payload">{verdict.text}</pre>
          </article>
        )}
      </div>
    </section>
  );
}
