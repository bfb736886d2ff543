/**
 * The keyboard: `/` to the search, `?` for this list, `g` and a letter to a page. Nothing is taken from whoever types into a field.
 */
import { type Signal, signal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { MENU } from './menu.ts';
import { Dialog } from './parts/dialog.tsx';
import { Facts } from './parts/table.tsx';
import { go } from './place.ts';
import { mayAs } from './session.ts';

/** How long the second key may take. */
const PAUSE_MILLISECONDS = 1500;

const isShown: Signal<boolean> = signal(false);

export function showKeys(): void {
  isShown.value = true;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('input, textarea, select, dialog') !== null;
}

export function useKeys(): void {
  useEffect(() => {
    let begunAt = 0;
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const isSecond = event.timeStamp - begunAt < PAUSE_MILLISECONDS;
      begunAt = 0;
      if (event.key === '/') {
        const field = document.querySelector<HTMLInputElement>('[data-search]');
        if (field === null) return;
        event.preventDefault();
        field.focus();
        field.select();
      } else if (event.key === '?') isShown.value = true;
      else if (event.key === 'g' && !isSecond) begunAt = event.timeStamp;
      else if (isSecond) {
        const entry = MENU.find(({ key, role }) => key === event.key && mayAs(role));
        if (entry !== undefined) go([entry.name]);
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}

export function KeysHelp(): VNode | null {
  if (!isShown.value) return null;
  return (
    <Dialog
      title="Keys"
      onClose={() => {
        isShown.value = false;
      }}
    >
      <Facts
        facts={[
          [<kbd key="slash">/</kbd>, 'to the search of the page'],
          [<kbd key="question">?</kbd>, 'this list'],
          [<kbd key="escape">Esc</kbd>, 'closes a dialog'],
          ...MENU.filter(({ key, role }) => key !== '' && mayAs(role)).map(
            ({ key, title }) =>
              [
                <span key={key}>
                  <kbd>g</kbd> <kbd>{key}</kbd>
                </span>,
                title,
              ] as const,
          ),
        ]}
      />
    </Dialog>
  );
}
