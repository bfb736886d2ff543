/**
 * Tables. A wide one scrolls in its own box, so that the page fits on a phone.
 */
import type { ComponentChildren, RefObject, VNode } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => ComponentChildren;
  readonly isNumber?: boolean;
  /** Long text is broken anywhere. */
  readonly isLong?: boolean;
}

interface TableFacts<T> {
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly rowKey: (row: T, index: number) => string;
  /** Said when there is no row. */
  readonly empty: string;
}

/** Keeps the focus in an element when what had it goes away, such as the button of a row that is removed: else the keyboard would begin at the top of the page. */
export function useKeptFocus<E extends HTMLElement>(): RefObject<E | null> {
  const box = useRef<E>(null);
  const hadFocus = box.current?.contains(document.activeElement) === true;
  useLayoutEffect(() => {
    if (hadFocus && document.activeElement === document.body) box.current?.focus();
  });
  return box;
}

export function Table<T>({ caption, columns, rows, rowKey, empty }: TableFacts<T>): VNode {
  const box = useKeptFocus<HTMLElement>();
  if (rows.length === 0)
    return (
      <section ref={box} tabIndex={-1}>
        <p class="empty">{empty}</p>
      </section>
    );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard.
    <section ref={box} class="scroll" aria-label={`${caption} (table)`} tabIndex={0}>
      <table class="striped">
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, isNumber, isLong }) => (
              <th key={title} scope="col" class={isNumber === true ? 'number' : isLong === true ? 'long' : undefined}>
                {title === '' ? <span class="hidden">Actions</span> : title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={rowKey(row, index)}>
              {columns.map(({ title, cell, isNumber, isLong }) => (
                <td key={title} class={isNumber === true ? 'number' : isLong === true ? 'long' : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Names and values. */
export function Facts({ facts }: { readonly facts: readonly (readonly [name: ComponentChildren, value: ComponentChildren])[] }): VNode {
  return (
    <dl class="facts">
      {facts.map(([name, value], index) => (
        <div key={index}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
