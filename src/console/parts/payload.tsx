/**
 * Payloads of messages: text as it is, bytes in hexadecimal, which is said because a text may look the same.
 */
import type { VNode } from 'preact';
import { payload } from '../format.ts';

const PREVIEW_LENGTH = 60;

interface PayloadFacts {
  readonly base64: string | null | undefined;
}

export function PayloadBox({ base64 }: PayloadFacts): VNode {
  const { text, isBytes } = payload(base64);
  return (
    <>
      {isBytes && <p class="hint">Bytes, in hexadecimal:</p>}
      <pre class="payload">{text}</pre>
    </>
  );
}

/** Its beginning. */
export function PayloadPreview({ base64 }: PayloadFacts): VNode {
  const { text, isBytes } = payload(base64);
  return (
    <>
      {isBytes && <span class="badge">bytes</span>}{' '}
      <code>{text.length > PREVIEW_LENGTH ? `${text.slice(0, PREVIEW_LENGTH).trimEnd()}…` : text}</code>
    </>
  );
}
