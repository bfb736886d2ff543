/**
 * Forms: they never leave the page, and say what the broker has against what was sent: at the field where the problem names one, else above the button.
 */
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, type Fault } from '../api.ts';
import { failureText } from './notices.tsx';

interface FormFacts {
  readonly label: string;
  /** Absent: what is typed counts at once. */
  readonly onSubmit?: () => unknown;
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
        onSubmit?.();
      }}
    >
      {children}
    </form>
  );
}

export interface Tried {
  /** What is wrong, where it is about no field; '' for nothing. */
  readonly failure: string;
  readonly isBusy: boolean;
  /** What is wrong, field or not: another list each time that something fails. */
  readonly faults: readonly Fault[];
  /** What is wrong with one field; '' for nothing. */
  readonly faultOf: (field: string) => string;
  /** Does something once, and keeps why it has failed. @returns whether it went well */
  readonly attempt: (what: () => Promise<unknown>) => Promise<boolean>;
  readonly fail: (text: string, field?: string) => void;
}

interface Failed {
  readonly text: string;
  readonly faults: readonly Fault[];
}

const NOTHING: Failed = { text: '', faults: [] };

/** @param fields those that are on the screen now, by their names in the API: what is wrong with another is said above the button @param fieldOf the field that a place in a problem is about, `body.attributes.group`; '' for none of them */
export function useTried(fields: readonly string[] = [], fieldOf: (at: string) => string = (at) => fieldIn(fields, at)): Tried {
  const [failed, setFailed] = useState(NOTHING);
  const [isBusy, setBusy] = useState(false);
  const isGone = useRef(false);
  useEffect(
    () => () => {
      isGone.current = true;
    },
    [],
  );
  const attempt = async (what: () => Promise<unknown>): Promise<boolean> => {
    if (isBusy) return false;
    setFailed(NOTHING);
    setBusy(true);
    try {
      await what();
      return true;
    } catch (error) {
      if (!isGone.current) setFailed(failedOf(error));
      return false;
    } finally {
      if (!isGone.current) setBusy(false);
    }
  };
  const placed = failed.faults.map((fault) => [fieldOf(fault.at), fault] as const);
  const textOf = (wanted: string): string[] => placed.filter(([field]) => field === wanted).map(([, { message }]) => message);
  const homeless = placed.filter(([field]) => field === '').map(([, { at, message }]) => `${at}: ${message}`);
  return {
    failure: [failed.text, ...homeless].filter(Boolean).join(' '),
    isBusy,
    faults: failed.faults,
    faultOf: (field) => textOf(field).join(' '),
    attempt,
    fail: (text, field = '') => setFailed(field === '' ? { text, faults: [] } : { text: '', faults: [{ at: field, message: text }] }),
  };
}

/** The field of these that a place in a problem is about; '' for none. */
export function fieldIn(fields: readonly string[], at: string): string {
  return at.split('.').find((name) => fields.includes(name)) ?? '';
}

function failedOf(error: unknown): Failed {
  if (!(error instanceof ApiError) || error.faults.length === 0) return { text: failureText(error), faults: [] };
  return { text: '', faults: error.faults };
}

/** Why a form was not taken. */
export function FormFailure({ text }: { readonly text: string }): VNode | null {
  if (text === '') return null;
  return (
    <p role="alert" class="failure">
      {text}
    </p>
  );
}

/** The end of a form in a dialog: what is wrong, and the button. */
export function FormEnd({ tried, action }: { readonly tried: Tried; readonly action: string }): VNode {
  const button = useRef<HTMLButtonElement>(null);
  const { faults, isBusy } = tried;
  useEffect(() => {
    // In a long form the fault would be out of sight, and a screen reader elsewhere.
    if (faults.length > 0) button.current?.form?.querySelector<HTMLElement>('[aria-invalid], .faulty input')?.focus();
  }, [faults, isBusy]);
  return (
    <>
      <FormFailure text={tried.failure} />
      <button ref={button} type="submit" aria-busy={isBusy}>
        {action}
      </button>
    </>
  );
}
