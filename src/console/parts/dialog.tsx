/**
 * Dialogs: the browser's own, which keep the focus inside, close with Escape and give the focus back.
 */
import { type Signal, signal } from '@preact/signals';
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { Check } from './fields.tsx';
import { Notices, newLayer } from './notices.tsx';

interface DialogFacts {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  /** What has the focus at first, as a selector; absent: the first field of a form. */
  readonly first?: string;
}

const FIRST_FIELD = 'form :is(input, select, textarea)';

/** Open as long as it is there. */
export function Dialog({ title, onClose, children, first = FIRST_FIELD }: DialogFacts): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [layer] = useState(newLayer);
  const isOpen = useRef(true);
  useEffect(() => {
    const element = dialog.current!;
    const opener = document.activeElement;
    element.showModal();
    element.querySelector<HTMLElement>(first)?.focus();
    layer.open();
    return () => {
      isOpen.current = false;
      layer.close();
      element.close();
      // Browsers give the focus back only where the dialog is still in the page by then.
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={() => isOpen.current && onClose()}>
      <article>
        <header>
          <button type="button" class="plain leave" aria-label="Close" onClick={() => dialog.current?.close()}>
            ✕
          </button>
          <h2 id={id}>{title}</h2>
        </header>
        {children}
      </article>
      <Notices layer={layer} />
    </dialog>
  );
}

interface Question {
  readonly title: string;
  readonly text: string;
  readonly action: string;
  /** What may be done with it; absent: nothing. */
  readonly option?: string | undefined;
}

/** What was answered: whether with the option. Null: no. */
export type Answer = { readonly isChosen: boolean } | null;

const question: Signal<(Question & { readonly answer: (answer: Answer) => void }) | null> = signal(null);

/** Asks before something that cannot be taken back. */
export function answered(asked: Question): Promise<Answer> {
  return new Promise((resolve) => {
    question.value = {
      ...asked,
      answer: (answer) => {
        question.value = null;
        resolve(answer);
      },
    };
  });
}

/** The same without an option. @param action what the button says */
export async function confirmed(title: string, text: string, action: string): Promise<boolean> {
  return (await answered({ title, text, action })) !== null;
}

/** Where is asked; once in the page. */
export function Questions(): VNode | null {
  const asked = question.value;
  return asked === null ? null : <QuestionDialog key={asked.title} {...asked} />;
}

function QuestionDialog({ title, text, action, option, answer }: Question & { readonly answer: (answer: Answer) => void }): VNode {
  const [isChosen, setChosen] = useState(false);
  return (
    <Dialog title={title} onClose={() => answer(null)}>
      <p>{text}</p>
      {option !== undefined && <Check label={option} isChecked={isChosen} onInput={setChosen} />}
      <footer>
        <button type="button" class="secondary" onClick={() => answer(null)}>
          Cancel
        </button>
        <button type="button" class="danger" onClick={() => answer({ isChosen })}>
          {action}
        </button>
      </footer>
    </Dialog>
  );
}
