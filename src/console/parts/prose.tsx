/**
 * Sentences of the broker about its keys. They are written for the manual: code between back quotes, and links, of which the words stay.
 */
import type { VNode } from 'preact';

export function Prose({ text }: { readonly text: string }): VNode {
  const plain = text.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  return <>{plain.split('`').map((piece, index) => (index % 2 === 1 ? <code key={index}>{piece}</code> : piece))}</>;
}
