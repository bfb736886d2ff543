/**
 * Fields of forms, each with its label, and a form that never leaves the page.
 */
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';

interface FieldFacts {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: string;
  readonly type?: 'text' | 'search' | 'password' | 'number' | 'datetime-local';
  readonly required?: boolean;
  readonly pattern?: string;
  readonly placeholder?: string;
  readonly autocomplete?: string;
  /** The key `/` leads here. */
  readonly isSearch?: boolean;
  readonly min?: number;
  readonly max?: number;
}

interface LabelledFacts {
  readonly label: string;
  readonly hint?: string | undefined;
  /** Gets the IDs of itself and of its hint. */
  readonly control: (id: string, hintId: string | undefined) => VNode;
}

/** A control between its label and its hint; both are tied to it by their IDs, so that neither is part of the other. */
function Labelled({ label, hint, control }: LabelledFacts): VNode {
  const id = useId();
  const hintId = hint === undefined ? undefined : `${id}-hint`;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {control(id, hintId)}
      {hint !== undefined && <small id={hintId}>{hint}</small>}
    </div>
  );
}

export function Field(facts: FieldFacts): VNode {
  const { label, value, onInput, hint, type = 'text', isSearch = false, autocomplete = 'off', ...rest } = facts;
  return (
    <Labelled
      label={label}
      hint={hint}
      control={(id, hintId) => (
        <input
          {...rest}
          id={id}
          type={type as 'text'}
          value={value}
          autocomplete={autocomplete}
          spellcheck={false}
          autocapitalize="off"
          data-search={isSearch ? '' : undefined}
          aria-describedby={hintId}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    />
  );
}

export const QOS_OPTIONS: readonly (readonly [string, string])[] = [
  ['0', '0: at most once'],
  ['1', '1: at least once'],
  ['2', '2: exactly once'],
];

interface AreaFacts {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly rows?: number;
  readonly hint?: string;
  readonly isCode?: boolean;
}

export function Area({ label, value, onInput, rows = 4, hint, isCode = false }: AreaFacts): VNode {
  return (
    <Labelled
      label={label}
      hint={hint}
      control={(id, hintId) => (
        <textarea
          id={id}
          rows={rows}
          value={value}
          spellcheck={false}
          class={isCode ? 'code' : undefined}
          aria-describedby={hintId}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    />
  );
}

interface ChoiceFacts {
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, text: string])[];
  readonly onInput: (value: string) => void;
}

export function Choice({ label, value, options, onInput }: ChoiceFacts): VNode {
  return (
    <Labelled
      label={label}
      control={(id) => (
        <select id={id} value={value} onInput={(event) => onInput(event.currentTarget.value)}>
          {options.map(([one, text]) => (
            <option key={one} value={one}>
              {text}
            </option>
          ))}
        </select>
      )}
    />
  );
}

interface CheckFacts {
  readonly label: string;
  readonly isChecked: boolean;
  readonly onInput: (isChecked: boolean) => void;
}

export function Check({ label, isChecked, onInput }: CheckFacts): VNode {
  return (
    <label class="check">
      <input type="checkbox" checked={isChecked} onInput={(event) => onInput(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

interface FormFacts {
  readonly label: string;
  readonly onSubmit: () => unknown;
  readonly children: ComponentChildren;
  readonly isInline?: boolean;
}

export function Form({ label, onSubmit, children, isInline = false }: FormFacts): VNode {
  return (
    <form
      aria-label={label}
      class={isInline ? 'inline' : undefined}
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      {children}
    </form>
  );
}

/** A value that follows another after a pause, so that not every letter is a request. */
export function useSettled(value: string, milliseconds: number = 250): string {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
