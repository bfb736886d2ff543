/**
 * What somebody searches for on a page, kept in its address: so reloading, going back and bookmarks show the same.
 */
import { useEffect, useRef, useState } from 'preact/hooks';
import { note, place } from './place.ts';

const SETTLE_MILLISECONDS = 250;

/** Where a list has got to; another search begins at its beginning. */
export const PAGE = 'page';
export const CURSOR = 'cursor';
const BEGINNING = { [PAGE]: '', [CURSOR]: '' };

/** A value that follows another after a pause, so that not every letter is a request. */
export function useSettled(value: string, milliseconds: number = SETTLE_MILLISECONDS): string {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}

export interface SearchField {
  /** As it is typed. */
  readonly value: string;
  /** As it is in the address; requests are made of it. */
  readonly settled: string;
  readonly set: (value: string) => void;
}

/** A field of a search. @param name in the address @param standard what is searched for when the address does not say */
export function useSearch(name: string, standard: string = ''): SearchField {
  const there = place.value.query.get(name) ?? standard;
  const [value, set] = useState(there);
  const settled = useSettled(value);
  /** What this field has seen in the address, or written there: whatever else stands there comes from a link. */
  const known = useRef(there);
  useEffect(() => {
    if (there === known.current) return;
    known.current = there;
    set(there);
  }, [there]);
  useEffect(() => {
    if (settled === known.current) return;
    known.current = settled;
    note({ ...BEGINNING, [name]: settled === standard ? '' : settled });
  }, [settled]);
  return { value, settled: there, set };
}
