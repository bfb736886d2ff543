/**
 * Fields of forms, each with its label, its hint, and what is wrong with its value.
 */
import type { ComponentChildren, RefObject, VNode } from 'preact';
import { useId } from 'preact/hooks';

interface LabelFacts {
  readonly label: string;
  readonly hint?: ComponentChildren;
  /** What is wrong with the value; '' or absent: nothing. */
  readonly fault?: string | undefined;
}

/** What ties a control to its texts. */
interface Ties {
  readonly id: string;
  readonly 'aria-describedby': string | undefined;
  readonly 'aria-invalid': 'true' | undefined;
}

interface LabelledFacts extends LabelFacts {
  readonly control: (ties: Ties) => VNode;
}

/** A control between its label and its hint; they are tied to it by their IDs, so that neither is part of the other. */
function Labelled({ label, hint, fault = '', control }: LabelledFacts): VNode {
  const id = useId();
  const hintId = hint === undefined ? '' : `${id}-hint`;
  const faultId = fault === '' ? '' : `${id}-fault`;
  const isFaulty = fault !== '';
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {control({
        id,
        'aria-describedby': `${faultId} ${hintId}`.trim() || undefined,
        'aria-invalid': isFaulty ? 'true' : undefined,
      })}
      {isFaulty && (
        <small id={faultId} class="failure" role="alert">
          {fault}
        </small>
      )}
      {hint !== undefined && <small id={hintId}>{hint}</small>}
    </div>
  );
}

interface FieldFacts extends LabelFacts {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly type?: 'text' | 'search' | 'password' | 'number' | 'datetime-local';
  readonly required?: boolean;
  readonly pattern?: string;
  readonly placeholder?: string;
  readonly autocomplete?: string;
  /** The key `/` leads here. */
  readonly isSearch?: boolean;
  readonly min?: number;
  readonly max?: number;
  readonly step?: number | 'any';
  readonly disabled?: boolean;
  /** Offered while somebody types. */
  readonly suggestions?: readonly string[];
}

export function Field(facts: FieldFacts): VNode {
  const { label, value, onInput, hint, fault, type = 'text', isSearch = false, autocomplete = 'off', suggestions, ...rest } = facts;
  return (
    <Labelled
      label={label}
      hint={hint}
      fault={fault}
      control={(ties) => (
        <>
          <input
            {...rest}
            {...ties}
            type={type as 'text'}
            value={value}
            autocomplete={autocomplete}
            spellcheck={false}
            autocapitalize="off"
            data-search={isSearch ? '' : undefined}
            list={suggestions === undefined ? undefined : `${ties.id}-list`}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
          {suggestions !== undefined && (
            <datalist id={`${ties.id}-list`}>
              {suggestions.map((one) => (
                <option key={one} value={one} />
              ))}
            </datalist>
          )}
        </>
      )}
    />
  );
}

export const QOS_OPTIONS: readonly (readonly [string, string])[] = [
  ['0', '0: at most once'],
  ['1', '1: at least once'],
  ['2', '2: exactly once'],
];

interface AreaFacts extends LabelFacts {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly rows?: number;
  readonly isCode?: boolean;
  readonly placeholder?: string;
  readonly area?: RefObject<HTMLTextAreaElement | null>;
}

export function Area({ label, value, onInput, rows = 4, hint, fault, isCode = false, placeholder, area }: AreaFacts): VNode {
  return (
    <Labelled
      label={label}
      hint={hint}
      fault={fault}
      control={(ties) => (
        <textarea
          {...ties}
          {...(area !== undefined && { ref: area })}
          rows={rows}
          value={value}
          spellcheck={false}
          placeholder={placeholder}
          class={isCode ? 'code' : undefined}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    />
  );
}

interface ChoiceFacts extends LabelFacts {
  readonly value: string;
  readonly options: readonly (readonly [value: string, text: string])[];
  readonly onInput: (value: string) => void;
}

export function Choice({ label, value, options, onInput, hint, fault }: ChoiceFacts): VNode {
  return (
    <Labelled
      label={label}
      hint={hint}
      fault={fault}
      control={(ties) => (
        <select {...ties} value={value} onInput={(event) => onInput(event.currentTarget.value)}>
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
  readonly disabled?: boolean;
}

export function Check({ label, isChecked, onInput, disabled = false }: CheckFacts): VNode {
  return (
    <label class="check">
      <input type="checkbox" checked={isChecked} disabled={disabled} onInput={(event) => onInput(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

interface ChecksFacts extends LabelFacts {
  readonly value: readonly string[];
  readonly options: readonly (readonly [value: string, text: string])[];
  readonly onInput: (value: readonly string[]) => void;
}

/** Some of several values. */
export function Checks({ label, value, options, onInput, hint, fault = '' }: ChecksFacts): VNode {
  const id = useId();
  const isFaulty = fault !== '';
  const described = `${isFaulty ? `${id}-fault` : ''} ${hint === undefined ? '' : `${id}-hint`}`.trim();
  return (
    <fieldset class={isFaulty ? 'field checks faulty' : 'field checks'} aria-describedby={described || undefined}>
      <legend>{label}</legend>
      {options.map(([one, text]) => (
        <Check
          key={one}
          label={text}
          isChecked={value.includes(one)}
          // In the order of the options, however they were checked.
          onInput={(isIn) => onInput(options.map(([each]) => each).filter((each) => (each === one ? isIn : value.includes(each))))}
        />
      ))}
      {isFaulty && (
        <small id={`${id}-fault`} class="failure" role="alert">
          {fault}
        </small>
      )}
      {hint !== undefined && <small id={`${id}-hint`}>{hint}</small>}
    </fieldset>
  );
}
