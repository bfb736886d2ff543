/**
 * A list of the API as a table with pages: the cursor of each page that was seen is kept, so that one can go back.
 */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Page, Query } from '../api.ts';
import { count } from '../format.ts';
import { useAsked } from '../use-asked.ts';
import { Failure } from './failure.tsx';
import { type Column, Table } from './table.tsx';

interface ListFacts<T> {
  readonly path: string;
  readonly query?: Query;
  /** What it holds, as in “clients”. */
  readonly what: string;
  readonly caption: string;
  readonly empty: string;
  readonly columns: readonly Column<T>[];
  readonly rowKey: (row: T, index: number) => string;
  readonly limit?: number;
  readonly everySeconds?: number;
  /** Counted up by whoever has changed something: the list is asked again. */
  readonly changes?: number;
}

export function List<T>(facts: ListFacts<T>): VNode {
  const { path, query = {}, what, caption, empty, columns, rowKey, limit = 50, everySeconds = 0, changes = 0 } = facts;
  const asked = JSON.stringify([path, query]);
  const [pages, setPages] = useState<{ readonly of: string; readonly cursors: readonly string[] }>({ of: asked, cursors: [] });
  const cursors = pages.of === asked ? pages.cursors : [];
  const { data, error, isLoading, reload } = useAsked<Page<T>>(path, { ...query, limit, cursor: cursors.at(-1) }, everySeconds);
  useEffect(() => {
    if (changes > 0) reload();
  }, [changes]);
  const next = data?.next ?? null;
  if (error !== null && data === null) return <Failure error={error} what={what} />;
  return (
    <div aria-busy={isLoading && data === null}>
      {error !== null && <Failure error={error} what={what} />}
      {data !== null && (
        <Table
          caption={caption}
          columns={columns}
          rows={data.data}
          rowKey={rowKey}
          empty={next === null ? empty : 'Nothing on this page fits; the search goes on with the next.'}
        />
      )}
      {data !== null && (cursors.length > 0 || next !== null || data.total !== undefined) && (
        <nav class="paging" aria-label={`Pages of ${caption}`}>
          <button
            type="button"
            class="secondary outline"
            disabled={cursors.length === 0}
            onClick={() => setPages({ of: asked, cursors: cursors.slice(0, -1) })}
          >
            Back
          </button>
          <span>
            Page {cursors.length + 1}
            {data.total !== undefined && `, ${count(data.total)} in all`}
          </span>
          <button
            type="button"
            class="secondary outline"
            disabled={next === null}
            onClick={() => setPages({ of: asked, cursors: [...cursors, next!] })}
          >
            Next
          </button>
        </nav>
      )}
    </div>
  );
}
