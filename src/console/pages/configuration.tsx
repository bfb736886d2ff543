/**
 * Configuration: every key with its value, secrets hidden. What may change while the broker runs is changed in a form; of the rest it is said when a change in the file holds.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { confirmed, Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { attempt, say } from '../parts/notices.tsx';
import { Prose } from '../parts/prose.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';
import { useSearch } from '../use-search.ts';
import { ConfigForm } from './config-form.tsx';
import { type ConfigKey, sectionOf } from './config-values.ts';

interface Config {
  readonly file: string | null;
  readonly data: readonly ConfigKey[];
}

const CONFIG_PATH = '/api/v1/config';

type Fits = (key: ConfigKey) => boolean;
const SHOWN: Readonly<Record<string, readonly [text: string, fits: Fits]>> = {
  set: ['what is not the default', ({ source }) => source !== 'default'],
  live: ['what can be changed here', ({ isLive }) => isLive],
  all: ['all keys', () => true],
};

function holds({ isLive, needsRestart }: ConfigKey): string {
  if (isLive) return 'here, at once';
  return needsRestart ? 'in the file, with the restart' : 'in the file, with SIGHUP';
}

export function Configuration(): VNode {
  const { data, error, reload } = useAsked<Config>(CONFIG_PATH);
  const search = useSearch('search');
  const show = useSearch('show', 'set');
  /** The key whose button was pressed. */
  const [edited, setEdited] = useState<ConfigKey | null>(null);
  const forget = async (): Promise<void> => {
    if (!(await confirmed('Forget the changes?', 'What is written in the configuration holds again.', 'Forget'))) return;
    if (await attempt(() => ask('DELETE', CONFIG_PATH), 'What is written holds again')) reload();
  };
  const [, isShown] = SHOWN[show.settled] ?? SHOWN['set']!;
  const wanted = search.settled.toLowerCase();
  // Whoever searches means all keys.
  const fits: Fits = (one) => (wanted === '' ? isShown(one) : `${one.key} ${one.text}`.toLowerCase().includes(wanted));
  const columns: Column<ConfigKey>[] = [
    { title: 'Key', cell: ({ key }) => <code>{key}</code> },
    {
      title: 'Value',
      cell: ({ value }) => <code>{typeof value === 'string' ? value : JSON.stringify(value)}</code>,
      isLong: true,
    },
    { title: 'From', cell: ({ source }) => (source === 'api' ? <span class="badge">changed here</span> : source) },
    { title: 'A change holds', cell: holds },
    { title: 'Meaning', cell: ({ text }) => <Prose text={text} />, isLong: true },
  ];
  if (mayAs('admin'))
    columns.splice(2, 0, {
      title: '',
      cell: (one) =>
        one.isLive && (
          <button type="button" class="small outline" aria-label={`Change ${one.key}`} onClick={() => setEdited(one)}>
            Change
          </button>
        ),
    });
  return (
    <section aria-labelledby="configuration">
      <div class="heading">
        <h2 id="configuration">Configuration</h2>
        {mayAs('admin') && data?.data.some(({ source }) => source === 'api') === true && (
          <button type="button" class="secondary" onClick={() => void forget()}>
            Forget changes
          </button>
        )}
      </div>
      {error !== null && <Failure error={error} what="its configuration" />}
      {data !== null && (
        <>
          <p>
            {data.file === null ? 'There is no file: variables and options of the command say all.' : <>It is in {data.file}.</>} What is
            changed here holds at once and until the restart; what shall stay is written to the file.
          </p>
          <Form label="Search the configuration" isInline>
            <Field label="Search in keys and their meanings" type="search" value={search.value} onInput={search.set} isSearch />
            <Choice
              label="Show"
              value={show.value}
              options={Object.entries(SHOWN).map(([name, [text]]) => [name, text] as const)}
              onInput={show.set}
            />
          </Form>
          <Table<ConfigKey>
            caption="Configuration"
            rows={data.data.filter(fits)}
            rowKey={({ key }) => key}
            empty="No key fits."
            columns={columns}
          />
        </>
      )}
      {edited !== null && data !== null && (
        <Dialog
          title={`Change ${sectionOf(edited.key)}`}
          onClose={() => setEdited(null)}
          first={`[data-key="${edited.key}"] :is(input, select)`}
        >
          <ConfigForm
            path={CONFIG_PATH}
            keys={data.data.filter(({ key, isLive }) => isLive && sectionOf(key) === sectionOf(edited.key))}
            done={(isChanged) => {
              setEdited(null);
              if (!isChanged) return;
              say('It holds, until the restart');
              reload();
            }}
          />
        </Dialog>
      )}
    </section>
  );
}
