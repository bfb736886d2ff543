/**
 * Pages of a list of the API. The cursor of each page that was seen is kept, so that one can go back; where a list is what its page is about, the address says which page
 * is shown.
 */
import type { VNode } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { count } from '../format.ts';
import { go, place } from '../place.ts';
import { CURSOR, PAGE } from '../use-search.ts';

export interface Pages {
  /** From 1. */
  readonly number: number;
  /** Of the page that is shown; '' for the first. */
  readonly cursor: string;
  readonly show: (number: number, cursor: string) => void;
  /** Of a page that was seen; '' otherwise, and for the first. */
  readonly cursorOf: (number: number) => string;
}

/** @param search what is searched for: for something else the pages begin anew @param isInAddress not for two lists of one page */
export function usePages(search: string, isInAddress: boolean): Pages {
  const [own, setOwn] = useState({ search, number: 1, cursor: '' });
  const seen = useRef({ search, cursors: new Map<number, string>() });
  if (seen.current.search !== search) seen.current = { search, cursors: new Map() };
  const { levels, query } = place.value;
  const ofAddress = { number: Math.max(1, Number.parseInt(query.get(PAGE) ?? '', 10) || 1), cursor: query.get(CURSOR) ?? '' };
  const shown = isInAddress ? ofAddress : own.search === search ? own : { number: 1, cursor: '' };
  seen.current.cursors.set(shown.number, shown.cursor);
  return {
    ...shown,
    cursorOf: (number) => seen.current.cursors.get(number) ?? '',
    show: (number, cursor) => {
      if (!isInAddress) setOwn({ search, number, cursor });
      else go(levels, { ...Object.fromEntries(query), [PAGE]: cursor === '' ? '' : String(number), [CURSOR]: cursor });
    },
  };
}

interface PagingFacts {
  readonly caption: string;
  readonly pages: Pages;
  /** Cursor of the next page; null: this is the last. */
  readonly next: string | null;
  readonly total: number | undefined;
}

export function Paging({ caption, pages, next, total }: PagingFacts): VNode | null {
  const { number, cursor, show, cursorOf } = pages;
  if (cursor === '' && next === null && total === undefined) return null;
  const before = cursorOf(number - 1);
  // Whoever has come by a link has not seen the page before, and lists go forward only.
  const isBack = number === 2 || before !== '';
  return (
    <nav class="paging" aria-label={`Pages of ${caption}`}>
      <button type="button" class="secondary outline" disabled={cursor === ''} onClick={() => show(isBack ? number - 1 : 1, before)}>
        {cursor === '' || isBack ? 'Back' : 'To the first'}
      </button>
      <span>
        Page {number}
        {total !== undefined && `, ${count(total)} in all`}
      </span>
      <button type="button" class="secondary outline" disabled={next === null} onClick={() => show(number + 1, next!)}>
        Next
      </button>
    </nav>
  );
}
