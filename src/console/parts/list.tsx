/**
 * A list of the API as a table with pages.
 */
import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Page, Query } from '../api.ts';
import { useAsked } from '../use-asked.ts';
import { Failure } from './failure.tsx';
import { Paging, usePages } from './paging.tsx';
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
  /** Entries of one page. */
  readonly limit?: number;
  readonly everySeconds?: number;
  /** The API has no pages of it: it comes whole. */
  readonly isWhole?: boolean;
  /** Counted up by whoever has changed something: the list is asked again. */
  readonly changes?: number;
  /** Told whether the broker offers this at all. */
  readonly offered?: (isOffered: boolean) => void;
  /** Whether the address says which page is shown; not for two lists of one page. */
  readonly isInAddress?: boolean;
}

export function List<T>(facts: ListFacts<T>): VNode {
  const { path, query = {}, what, caption, empty, columns, rowKey, everySeconds = 0, changes = 0 } = facts;
  const { limit = 50, isInAddress = false, isWhole = false } = facts;
  const pages = usePages(JSON.stringify([path, query]), isInAddress);
  const { data, error, isLoading, reload } = useAsked<Page<T>>(
    path,
    isWhole ? query : { ...query, limit, cursor: pages.cursor },
    everySeconds,
  );
  useEffect(() => {
    if (changes > 0) reload();
  }, [changes]);
  const isOffered = error?.status !== 501;
  useEffect(() => facts.offered?.(isOffered), [isOffered]);
  const next = data?.next ?? null;
  if (error !== null && data === null)
    return (
      <>
        <Failure error={error} what={what} />
        {error.status === 400 && pages.cursor !== '' && (
          <button type="button" class="small secondary" onClick={() => pages.show(1, '')}>
            To the first page
          </button>
        )}
      </>
    );
  return (
    <div aria-busy={isLoading && data === null}>
      {error !== null && <Failure error={error} what={what} />}
      {data !== null && (
        <>
          <Table
            caption={caption}
            columns={columns}
            rows={data.data}
            rowKey={rowKey}
            empty={next === null ? empty : 'Nothing on this page fits; the search goes on with the next.'}
          />
          <Paging caption={caption} pages={pages} next={next} total={data.total} />
        </>
      )}
    </div>
  );
}
