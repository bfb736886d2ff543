/**
 * A secret that the broker has made: shown once, to be copied.
 */
import type { VNode } from 'preact';
import { say } from './notices.tsx';

interface SecretFacts {
  readonly text: string;
  readonly secrets: readonly (readonly [name: string, value: string])[];
  readonly done: () => void;
}

export function Secret({ text, secrets, done }: SecretFacts): VNode {
  const copy = (value: string): void => {
    // Browsers offer the clipboard to secure pages only.
    const copied = navigator.clipboard?.writeText(value);
    if (copied === undefined) say('Select the text and copy it: this page has no access to the clipboard without HTTPS.', true);
    else void copied.then(() => say('Copied'));
  };
  return (
    <>
      <p role="status">{text} It is shown once.</p>
      {secrets.map(([name, value]) => (
        <section key={name} aria-label={name}>
          <p>{name}</p>
          <pre class="payload token">{value}</pre>
          <button type="button" class="small secondary" onClick={() => copy(value)}>
            Copy
          </button>
        </section>
      ))}
      <footer>
        <button type="button" onClick={done}>
          Done
        </button>
      </footer>
    </>
  );
}
