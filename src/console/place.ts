/**
 * Where in the console somebody is: the part of the address behind `#`, `#/clients/dev-1?prefix=d`. So reloading, going back and bookmarks work, and the
 * broker serves one page only.
 */
import { type ReadonlySignal, signal } from '@preact/signals';

export interface Place {
  /** Levels, decoded: `['clients', 'dev-1']`. */
  readonly levels: readonly string[];
  readonly query: URLSearchParams;
}

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { levels: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const current = signal(read());
export const place: ReadonlySignal<Place> = current;

addEventListener('hashchange', () => {
  current.value = read();
});

/** `#/clients/dev%2F1?…`, for links. */
export function placeOf(levels: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== '');
  const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
  return `#/${levels.map(encodeURIComponent).join('/')}${search}`;
}

/** Changes the search of this place, without another step to go back over. '' takes a name away. */
export function note(changes: Readonly<Record<string, string>>): void {
  const { levels, query } = current.value;
  history.replaceState(null, '', placeOf(levels, { ...Object.fromEntries(query), ...changes }));
  current.value = read();
}

export function go(levels: readonly string[], query: Readonly<Record<string, string>> = {}): void {
  location.hash = placeOf(levels, query);
}
