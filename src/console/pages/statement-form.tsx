/**
 * The form of a statement: who may do what, and where among the others it stands. The same as JSON is its second view.
 *
 * A key that does not fit the rest stays in the form until somebody empties it: a statement must not become wider because a field went away.
 */
import type { VNode } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { Area, Checks, Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, type Tried, useTried } from '../parts/form.tsx';
import {
  ACTIONS,
  actionsOf,
  type Condition,
  isObject,
  linesOf,
  NO_OBJECT,
  notForForm,
  resourceOf,
  shownConditions,
  shownFields,
  textOf,
  VARIABLES,
  type Written,
  withKey,
} from './statement-keys.ts';

interface StatementFormFacts {
  readonly written: Written;
  /** Where it stands, from 1 as people count, and where it could. */
  readonly place: number;
  readonly first: number;
  readonly last: number;
  /** What stands above the button; false: nothing. */
  readonly note: VNode | false;
  /** @throws ApiError */
  readonly save: (written: Written, place: number) => Promise<void>;
}

export function StatementForm({ written, place: before, first, last, note, save }: StatementFormFacts): VNode {
  const [draft, setDraft] = useState(written);
  const [json, setJson] = useState<string | null>(notForForm(written) === '' ? null : jsonOf(written));
  const [place, setPlace] = useState(String(before));
  const tried = useTried(['index', ...(json === null ? shownFields(draft) : ['json'])]);
  /** The statement that is written in JSON; null where there is none, which is said. */
  const readJson = (text: string): Written | null => {
    try {
      const read: unknown = JSON.parse(text);
      if (isObject(read)) return read;
      tried.fail(NO_OBJECT, 'json');
    } catch (error) {
      tried.fail(`This is no JSON: ${(error as Error).message}`, 'json');
    }
    return null;
  };
  const showForm = (): void => {
    if (json === null) return;
    const read = readJson(json);
    if (read === null) return;
    const why = notForForm(read);
    if (why !== '') {
      tried.fail(why, 'json');
      return;
    }
    setDraft(read);
    setJson(null);
  };
  const submit = (): void => {
    const read = json === null ? draft : readJson(json);
    if (read !== null) void tried.attempt(() => save(read, Number(place)));
  };
  return (
    <>
      <fieldset class="views">
        <legend class="hidden">View</legend>
        {(['Form', 'JSON'] as const).map((view) => (
          <button
            key={view}
            type="button"
            class="small outline"
            aria-pressed={(view === 'JSON') === (json !== null)}
            onClick={view === 'Form' ? showForm : () => setJson(json ?? jsonOf(draft))}
          >
            {view}
          </button>
        ))}
      </fieldset>
      <Form label="Statement" onSubmit={submit}>
        {json === null ? (
          <Keys draft={draft} setDraft={setDraft} tried={tried} />
        ) : (
          <Area
            label="Statement in JSON"
            value={json}
            onInput={setJson}
            rows={12}
            hint="As in the configuration, in JSON."
            isCode
            fault={tried.faultOf('json')}
          />
        )}
        <Field
          label="Place"
          type="number"
          required
          min={first}
          max={last}
          value={place}
          onInput={setPlace}
          hint={`The first that matches decides, so what is special stands above what is general. ${first} to ${last} here.`}
          fault={tried.faultOf('index')}
        />
        {note}
        <FormEnd tried={tried} action="Save" />
      </Form>
    </>
  );
}

function jsonOf(written: Written): string {
  return JSON.stringify(written, null, 2);
}

interface KeysFacts {
  readonly draft: Written;
  readonly setDraft: (draft: Written) => void;
  readonly tried: Tried;
}

function Keys({ draft, setDraft, tried }: KeysFacts): VNode {
  const resource = resourceOf(draft);
  const actions = actionsOf(draft);
  const set = (key: string, value: unknown): void => setDraft(withKey(draft, key, value));
  const shown = shownConditions(draft);
  const options = ACTIONS[resource];
  // Those of the other resource are shown as long as they are checked.
  const strange = actions.filter((action) => !options.some(([one]) => one === action)).map((action) => [action, action] as const);
  const conditions = (part: Condition['part']): VNode[] =>
    shown
      .filter((one) => one.part === part)
      .map((one) => (
        <ConditionField
          key={one.key}
          condition={one}
          value={draft[one.key]}
          set={(value) => set(one.key, value)}
          fault={tried.faultOf(one.key)}
        />
      ));
  return (
    <>
      <div class="grid">
        <Choice
          label="Effect"
          value={String(draft['effect'])}
          options={[
            ['allow', 'allow'],
            ['deny', 'deny'],
          ]}
          onInput={(value) => set('effect', value)}
          fault={tried.faultOf('effect')}
        />
        <Choice
          label="About"
          value={resource}
          options={[
            ['topic', 'topics'],
            ['p2p', 'messages to clients (P2P)'],
          ]}
          onInput={(value) => set('resource', value === 'topic' ? undefined : value)}
          fault={tried.faultOf('resource')}
        />
        <Field
          label="Name"
          value={String(draft['name'] ?? '')}
          onInput={(value) => set('name', value === '' ? undefined : value)}
          hint="For people and for the API; may be empty."
          fault={tried.faultOf('name')}
        />
      </div>
      <Checks
        label="Actions"
        value={actions}
        options={[...options, ...strange]}
        onInput={(value) => set('actions', value)}
        fault={tried.faultOf('actions')}
      />
      {conditions('what')}
      <fieldset class="part">
        <legend>Whose action</legend>
        {conditions('who')}
      </fieldset>
    </>
  );
}

interface ConditionFacts {
  readonly condition: Condition;
  readonly value: unknown;
  readonly set: (value: unknown) => void;
  readonly fault: string;
}

function ConditionField({ condition, value, set, fault }: ConditionFacts): VNode {
  const { kind, label, hint } = condition;
  if (kind === 'qos')
    return (
      <Checks
        label={label}
        hint={hint}
        fault={fault}
        value={((value ?? []) as readonly number[]).map(String)}
        options={[
          ['0', '0'],
          ['1', '1'],
          ['2', '2'],
        ]}
        onInput={(checked) => set(checked.length === 0 ? undefined : checked.map(Number))}
      />
    );
  if (kind === 'retain')
    return (
      <Choice
        label={label}
        fault={fault}
        value={value === undefined ? '' : String(value)}
        options={[
          ['', 'any message'],
          ['true', 'only messages that are to be retained'],
          ['false', 'only others'],
        ]}
        onInput={(chosen) => set(chosen === '' ? undefined : chosen === 'true')}
      />
    );
  return <LinesField condition={condition} value={value} set={set} fault={fault} />;
}

/** Keeps what is typed as it is typed: an empty line at the end is no value, but somebody is about to write there. */
function LinesField({ condition, value, set, fault }: ConditionFacts): VNode {
  const { kind, label, hint, placeholder, hasVariables = false } = condition;
  const [text, setText] = useState(textOf(kind, value));
  const area = useRef<HTMLTextAreaElement>(null);
  const take = (typed: string): void => {
    setText(typed);
    set(linesOf(kind, typed));
  };
  const insert = (variable: string): void => {
    const element = area.current!;
    element.setRangeText(variable, element.selectionStart, element.selectionEnd, 'end');
    take(element.value);
    element.focus();
  };
  return (
    <>
      <Area
        label={label}
        value={text}
        onInput={take}
        rows={Math.min(8, Math.max(2, text.split('\n').length))}
        hint={hint}
        fault={fault}
        isCode
        area={area}
        {...(placeholder !== undefined && { placeholder })}
      />
      {hasVariables && (
        <fieldset class="buttons variables">
          <legend class="hidden">Variables for {label}</legend>
          {VARIABLES.map((variable) => (
            <button
              key={variable}
              type="button"
              class="small outline"
              aria-label={`Insert ${variable} into ${label}`}
              onClick={() => insert(variable)}
            >
              {variable}
            </button>
          ))}
        </fieldset>
      )}
    </>
  );
}
