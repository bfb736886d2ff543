/**
 * What a page shows of the API, asked when the page opens, and again every few seconds where it is live. Nothing is asked for a tab that nobody sees.
 */
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, ask, type Query, withQuery } from './api.ts';

export interface Asked<T> {
  /** The last answer; null until there is one. */
  readonly data: T | null;
  readonly error: ApiError | null;
  readonly isLoading: boolean;
  reload(): void;
}

interface State<T> {
  readonly url: string | null;
  readonly data: T | null;
  readonly error: ApiError | null;
  readonly isLoading: boolean;
}

/** @param path null: nothing is asked; @param everySeconds 0: once */
export function useAsked<T>(path: string | null, query: Query = {}, everySeconds: number = 0): Asked<T> {
  const url = path === null ? null : withQuery(path, query);
  const [state, setState] = useState<State<T>>({ url, data: null, error: null, isLoading: url !== null });
  const [round, setRound] = useState(0);
  const isReload = useRef(false);
  useEffect(() => {
    if (url === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const isSame = isReload.current;
    isReload.current = false;
    if (!isSame) setState({ url, data: null, error: null, isLoading: true });
    const next = (): void => {
      if (everySeconds > 0 && !abort.signal.aborted) timer = setTimeout(once, everySeconds * 1000);
    };
    let isAsking = false;
    let isAsked = false;
    const once = (): void => {
      if (document.hidden) {
        next();
        return;
      }
      isAsking = true;
      isAsked = true;
      ask<T>('GET', url, { signal: abort.signal }).then(
        (data) => {
          if (abort.signal.aborted) return;
          isAsking = false;
          setState({ url, data, error: null, isLoading: false });
          next();
        },
        (error: unknown) => {
          if (abort.signal.aborted) return;
          isAsking = false;
          const failure = error instanceof ApiError ? error : new ApiError(0, '', String(error), '');
          // What is gone is not shown any more; it may come again, as a client does.
          const isGone = failure.status === 404;
          setState((before) => ({ url, data: isGone ? null : before.data, error: failure, isLoading: false }));
          // What is forbidden or wrong will not come by asking.
          if (isGone || failure.status === 0 || failure.status >= 429) next();
        },
      );
    };
    const seen = (): void => {
      if (document.hidden || isAsking || (everySeconds === 0 && isAsked)) return;
      clearTimeout(timer);
      once();
    };
    document.addEventListener('visibilitychange', seen);
    once();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [url, everySeconds, round]);
  const isOwn = state.url === url;
  return {
    data: isOwn ? state.data : null,
    error: isOwn ? state.error : null,
    isLoading: isOwn ? state.isLoading : url !== null,
    reload: () => {
      isReload.current = true;
      setRound((value) => value + 1);
    },
  };
}
