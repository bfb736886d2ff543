/**
 * Topics: how much passes below a topic prefix, and who or what is slow.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, words } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { attempt } from '../parts/notices.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

type Row = Readonly<Record<string, unknown>>;

const LIVE_SECONDS = 5;

export function TopicsPage(): VNode {
  return (
    <>
      <h1>Topics</h1>
      <Metrics />
      <Top id="slow-clients" title="Slow clients" path="/api/v1/slow/clients" what="a list of slow clients" />
      <Top id="slow-routes" title="Slow routes" path="/api/v1/slow/routes" what="a list of slow routes" />
    </>
  );
}

/** A list whose rows say themselves what they have. */
function rowsOf(data: { readonly data?: readonly Row[] } | readonly Row[] | null): readonly Row[] {
  if (data === null) return [];
  return 'data' in data ? (data.data ?? []) : (data as readonly Row[]);
}

function columnsOf(rows: readonly Row[]): Column<Row>[] {
  const names = Object.keys(rows[0] ?? {});
  return names.map((name) => ({
    title: words(name),
    isNumber: typeof rows[0]![name] === 'number',
    isLong: typeof rows[0]![name] === 'string',
    cell: (row) => (name === 'clientId' ? <a href={placeOf(['clients', String(row[name])])}>{String(row[name])}</a> : any(row[name])),
  }));
}

function Metrics(): VNode {
  const { data, error, reload } = useAsked<{ readonly data?: readonly Row[] }>('/api/v1/topics/metrics', {}, LIVE_SECONDS);
  const [prefix, setPrefix] = useState('');
  const rows = rowsOf(data);
  const begin = async (): Promise<void> => {
    if (!(await attempt(() => ask('PUT', at`/api/v1/topics/metrics/${prefix}`), `${prefix} is measured`))) return;
    setPrefix('');
    reload();
  };
  const end = async (one: string): Promise<void> => {
    if (await attempt(() => ask('DELETE', at`/api/v1/topics/metrics/${one}`), `${one} is measured no longer`)) reload();
  };
  const columns = columnsOf(rows);
  if (mayAs('operator'))
    columns.push({
      title: '',
      cell: (row) => (
        <button
          type="button"
          class="small outline"
          aria-label={`End measuring ${row['prefix']}`}
          onClick={() => void end(String(row['prefix']))}
        >
          End
        </button>
      ),
    });
  return (
    <section aria-labelledby="metrics">
      <h2 id="metrics">Measured prefixes</h2>
      {error !== null ? (
        <Failure error={error} what="measuring by topic" />
      ) : (
        <>
          <Table
            caption="Measured prefixes"
            rows={rows}
            rowKey={(row, index) => String(row['prefix'] ?? index)}
            empty="Nothing is measured."
            columns={columns}
          />
          {mayAs('operator') && (
            <Form label="Measure a prefix" isInline onSubmit={begin}>
              <Field
                label="Measure topics below"
                value={prefix}
                onInput={setPrefix}
                required
                placeholder="fleet/berlin"
                hint="Up to three levels."
                isSearch
              />
              <button type="submit">Measure</button>
            </Form>
          )}
        </>
      )}
    </section>
  );
}

function Top(facts: { readonly id: string; readonly title: string; readonly path: string; readonly what: string }): VNode {
  const { id, title, path, what } = facts;
  const { data, error } = useAsked<{ readonly data?: readonly Row[] }>(path, {}, LIVE_SECONDS);
  const rows = rowsOf(data);
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {error !== null ? (
        <Failure error={error} what={what} />
      ) : (
        <Table caption={title} rows={rows} rowKey={(_, index) => String(index)} empty="None is slow." columns={columnsOf(rows)} />
      )}
    </section>
  );
}
