/**
 * The form of a section of the configuration: its keys with what the broker says of them. What is changed goes in one request, because some keys need each other.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { PAIRS_HINT, pairsFault } from '../pairs.ts';
import { Area, Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { Prose } from '../parts/prose.tsx';
import { type ConfigKey, type Draft, draftOf, isRate, treeOf, writtenOf } from './config-values.ts';

interface ConfigFormFacts {
  readonly path: string;
  readonly keys: readonly ConfigKey[];
  readonly done: (isChanged: boolean) => void;
}

export function ConfigForm({ path, keys, done }: ConfigFormFacts): VNode {
  const before = keys.map((key) => [key.key, draftOf(key)] as const);
  const [drafts, setDrafts] = useState<ReadonlyMap<string, Draft>>(new Map(before));
  /** Keys whose change is taken back. */
  const [undone, setUndone] = useState<ReadonlySet<string>>(new Set());
  const names = keys.map(({ key }) => key);
  const tried = useTried(names, (at) => names.find((name) => at === name || at === `body.${name}`) ?? '');
  const save = async (): Promise<void> => {
    for (const { key, input } of keys) {
      const wrong = input === 'pairs' && !undone.has(key) ? pairsFault(drafts.get(key)!.text) : '';
      if (wrong === '') continue;
      tried.fail(wrong, key);
      return;
    }
    const changed = keys.flatMap((key) => {
      if (undone.has(key.key)) return [[key.key, null] as const];
      const value = writtenOf(key, drafts.get(key.key)!);
      const isSame = JSON.stringify(value) === JSON.stringify(writtenOf(key, draftOf(key)));
      return isSame || value === undefined ? [] : [[key.key, value] as const];
    });
    if (changed.length === 0) done(false);
    else if (await tried.attempt(() => ask('PATCH', path, { body: treeOf(changed) }))) done(true);
  };
  return (
    <Form label="Configuration" onSubmit={save}>
      {keys.map((one) => (
        <fieldset key={one.key} class="part" data-key={one.key}>
          <legend>
            <code>{one.key}</code>
          </legend>
          <p>
            <Prose text={one.text} />
          </p>
          {undone.has(one.key) ? (
            <p>What is written in the configuration will hold.</p>
          ) : (
            <ValueField
              of={one}
              draft={drafts.get(one.key)!}
              set={(draft) => setDrafts(new Map(drafts).set(one.key, draft))}
              fault={tried.faultOf(one.key)}
            />
          )}
          {one.source === 'api' && (
            <button
              type="button"
              class="small secondary outline"
              aria-pressed={undone.has(one.key)}
              aria-label={`Take the change of ${one.key} back`}
              onClick={() => {
                const next = new Set(undone);
                if (!next.delete(one.key)) next.add(one.key);
                setUndone(next);
              }}
            >
              Take the change back
            </button>
          )}
        </fieldset>
      ))}
      <FormEnd tried={tried} action="Save" />
    </Form>
  );
}

interface ValueFacts {
  readonly of: ConfigKey;
  readonly draft: Draft;
  readonly set: (draft: Draft) => void;
  readonly fault: string;
}

/** The last name of a key, which tells it from the others of its section. */
function nameOf(key: string): string {
  return key.slice(key.lastIndexOf('.') + 1);
}

function ValueField({ of: key, draft, set, fault }: ValueFacts): VNode {
  const { input, values, type, default: standard } = key;
  const name = nameOf(key.key);
  const hint = (
    <>
      <Prose text={type} />. Default: {standard === '' ? 'empty' : <code>{standard}</code>}.
    </>
  );
  if (draft.isKept)
    return (
      <p class="actions">
        What is there is hidden, and stays.
        <button type="button" class="small outline" aria-label={`Replace ${key.key}`} onClick={() => set({ ...draft, isKept: false })}>
          Replace
        </button>
      </p>
    );
  if (input === 'pairs')
    return (
      <Area
        label={name}
        value={draft.text}
        onInput={(text) => set({ ...draft, text })}
        rows={3}
        hint={
          <>
            {PAIRS_HINT}. They come to those that are there: {Object.keys(Object(key.value)).join(', ') || 'none'}.
          </>
        }
        isCode
        fault={fault}
      />
    );
  if (isRate(key)) return <RateField of={key} draft={draft} set={set} fault={fault} />;
  if (input === 'choice')
    return (
      <Choice
        label={name}
        value={draft.text}
        options={values.map((value) => [String(value), String(value)] as const)}
        onInput={(text) => set({ ...draft, text })}
        hint={<>Default: {standard}.</>}
        fault={fault}
      />
    );
  return (
    <Field
      label={name}
      type={input === 'number' ? 'number' : 'text'}
      step="any"
      value={draft.text}
      onInput={(text) => set({ ...draft, text })}
      hint={hint}
      fault={fault}
    />
  );
}

const LIMIT = 'limit';

function RateField({ of: { key, values, input, default: standard }, draft, set, fault }: ValueFacts): VNode {
  const name = nameOf(key);
  const unit = input === 'rate' ? 'A number.' : 'A size, such as 64KiB.';
  return (
    <div class="grid">
      <Choice
        label={name}
        value={draft.isLimit ? LIMIT : draft.text}
        options={[...values.map((value) => [String(value), String(value)] as const), [LIMIT, 'a limit']]}
        onInput={(word) =>
          set(word === LIMIT ? { ...draft, text: '', burst: '', isLimit: true } : { ...draft, text: word, burst: '', isLimit: false })
        }
        hint={<>Default: {standard}.</>}
        fault={draft.isLimit ? '' : fault}
      />
      {draft.isLimit && (
        <>
          <Field
            label={`${name} per second`}
            required
            value={draft.text}
            onInput={(text) => set({ ...draft, text })}
            hint={unit}
            fault={fault}
          />
          <Field
            label={`${name} burst`}
            value={draft.burst}
            onInput={(burst) => set({ ...draft, burst })}
            hint="What may come at once; empty: as much as in a second."
          />
        </>
      )}
    </div>
  );
}
