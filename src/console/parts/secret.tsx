/**
 * A secret that the broker has made: shown once, to be copied. Its dialog is closed by a button alone.
 */
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { say } from './notices.tsx';

interface SecretFacts {
  readonly text: string;
  readonly secrets: readonly (readonly [name: string, value: string])[];
  readonly done: () => void;
}

export function Secret({ text, secrets, done }: SecretFacts): VNode {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // The field that had the focus is gone.
    box.current!.querySelector('button')!.focus();
    // A key that is pressed by habit must not take away what nobody can see again.
    const dialog = box.current!.closest('dialog');
    const stay = (event: Event): void => event.preventDefault();
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape') event.preventDefault();
    };
    dialog?.addEventListener('cancel', stay);
    document.addEventListener('keydown', onKey);
    return () => {
      dialog?.removeEventListener('cancel', stay);
      document.removeEventListener('keydown', onKey);
    };
  }, []);
  const copy = async (value: string): Promise<void> => {
    // Browsers offer the clipboard to secure pages only, and people may refuse it to those.
    if (navigator.clipboard === undefined) {
      say('Select the text and copy it: this page has no access to the clipboard without HTTPS.', true);
      return;
    }
    try {
      await navigator.clipboard.writeText(value);
      say('Copied');
    } catch {
      say('Select the text and copy it: the browser does not let this page use the clipboard.', true);
    }
  };
  return (
    <div ref={box}>
      <p role="status">{text} It is shown once.</p>
      {secrets.map(([name, value]) => (
        <section key={name} aria-label={name}>
          <p>{name}</p>
          <pre class="payload token">{value}</pre>
          <button type="button" class="small secondary" onClick={() => void copy(value)}>
            Copy
          </button>
        </section>
      ))}
      <footer>
        <button type="button" onClick={done}>
          Done
        </button>
      </footer>
    </div>
  );
}
