/**
 * What the console says about what somebody has done: read out, and gone after a while.
 */
import { type Signal, signal } from '@preact/signals';
import type { VNode } from 'preact';
import { ApiError } from '../api.ts';

interface Notice {
  readonly id: number;
  readonly text: string;
  readonly isFailure: boolean;
}

const SHOWN_MILLISECONDS = 8000;
const NOTICES_MAX = 4;

/** Something that covers the page: notices are shown in the topmost, because what is behind it can be neither reached nor heard. */
export interface Layer {
  open(): void;
  close(): void;
}

const layers: Signal<readonly Layer[]> = signal([]);

export function newLayer(): Layer {
  const layer: Layer = {
    open: () => {
      layers.value = [...layers.value, layer];
    },
    close: () => {
      layers.value = layers.value.filter((one) => one !== layer);
    },
  };
  return layer;
}

const notices: Signal<readonly Notice[]> = signal([]);
let last = 0;

export function say(text: string, isFailure: boolean = false): void {
  const id = ++last;
  notices.value = [...notices.value, { id, text, isFailure }].slice(-NOTICES_MAX);
  setTimeout(() => dismiss(id), isFailure ? SHOWN_MILLISECONDS * 2 : SHOWN_MILLISECONDS);
}

function dismiss(id: number): void {
  notices.value = notices.value.filter((one) => one.id !== id);
}

/** Does something, and says how it went. @param done what is said then; '' for nothing @returns whether it went well */
export async function attempt<T>(what: () => Promise<T>, done: string | ((result: T) => string)): Promise<boolean> {
  try {
    const result = await what();
    const text = typeof done === 'string' ? done : done(result);
    if (text !== '') say(text);
    return true;
  } catch (error) {
    say(failureText(error), true);
    return false;
  }
}

export function failureText(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  return error.requestId === '' ? error.message : `${error.message} (${error.status}, request ${error.requestId})`;
}

/** @param layer absent: the page itself */
export function Notices({ layer }: { readonly layer?: Layer }): VNode {
  const shown = layers.value.at(-1) === layer ? notices.value : [];
  return (
    <div class="notices" role="status" aria-live="polite">
      {shown.map(({ id, text, isFailure }) => (
        <p key={id} class={isFailure ? 'notice failure' : 'notice'}>
          <span>{text}</span>
          <button type="button" class="plain" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ✕
          </button>
        </p>
      ))}
    </div>
  );
}
