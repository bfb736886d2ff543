/**
 * Authenticators: who judges logins, in their order. Those of `auth.file` are added, switched off and removed here; their keys are never shown.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { count, NONE } from '../format.ts';
import { readItems } from '../pairs.ts';
import { confirmed } from '../parts/dialog.tsx';
import { Area, Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, fieldIn, useTried } from '../parts/form.tsx';
import { attempt, say } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

const PATH = '/api/v1/authenticators';

interface Authenticator {
  readonly place: number;
  /** Null: one of the configuration. */
  readonly name: string | null;
  readonly isActive: boolean;
  readonly remark: string;
  readonly type: string;
  readonly source: string | null;
  readonly accepted: number;
  readonly refused: number;
  readonly ignored: number;
  readonly failed: number;
  readonly breaker: string | null;
}

interface Facts {
  readonly allowAnonymous: boolean;
  readonly file: string | null;
}

/** A part of the page about the broker. */
export function Authenticators(): VNode {
  const { data } = useAsked<Facts>(PATH);
  return (
    <Records<Authenticator>
      title="Authenticators"
      isPart
      intro={data !== null && <p>{data.allowAnonymous ? 'Clients without credentials may connect.' : 'Clients need credentials.'}</p>}
      path={PATH}
      isWhole
      one="authenticator"
      many="authenticators"
      empty="There is none."
      canAdd={data !== null && data.file !== null}
      canChange={false}
      isFixed={({ name }) => name === null}
      nameOf={({ name, place }) => name ?? String(place)}
      everySeconds={5}
      columns={[
        { title: 'No.', cell: ({ place }) => place + 1, isNumber: true },
        { title: 'Name', cell: ({ name }) => name ?? NONE },
        { title: 'Type', cell: ({ type, isActive }) => (isActive ? type : `${type} (off)`) },
        { title: 'Source', cell: ({ source }) => source ?? NONE, isLong: true },
        { title: 'Accepted', cell: (one) => count(one.accepted), isNumber: true },
        { title: 'Refused', cell: (one) => count(one.refused), isNumber: true },
        { title: 'Left to the next', cell: (one) => count(one.ignored), isNumber: true },
        { title: 'Failed', cell: (one) => count(one.failed), isNumber: true },
        { title: 'Breaker', cell: ({ breaker }) => breaker ?? NONE },
        { title: 'Remark', cell: ({ remark }) => remark || NONE, isLong: true },
      ]}
      actions={(one, changed) => one.name !== null && mayAs('admin') && <Switch of={one} name={one.name} done={changed} />}
      removal={{
        path: ({ name }) => at`/api/v1/authenticators/${name ?? ''}`,
        text: () => 'It judges no more logins. Clients that are connected stay.',
        done: ({ name }) => `${name} is removed`,
      }}
      form={(_, done) => <AuthenticatorForm done={done} />}
    />
  );
}

interface SwitchFacts {
  readonly of: Authenticator;
  readonly name: string;
  readonly done: () => void;
}

function Switch({ of: { isActive }, name, done }: SwitchFacts): VNode {
  const action = isActive ? 'Switch off' : 'Switch on';
  const change = async (): Promise<void> => {
    const path = at`/api/v1/authenticators/${name}`;
    const text = 'It judges no more logins until it is switched on. Clients that are connected stay.';
    if (isActive && !(await confirmed(`Switch off ${name}?`, text, 'Switch off'))) return;
    if (await attempt(() => ask('PATCH', path, { body: { isActive: !isActive } }), `${name} is ${isActive ? 'off' : 'on'}`)) done();
  };
  return (
    <button type="button" class="small outline" aria-label={`${action} ${name}`} onClick={() => void change()}>
      {action}
    </button>
  );
}

/** Kinds of keys of tokens, by the name that the API has for them. */
const KEYS = [
  ['jwksUrl', 'set of keys at an address (JWKS)'],
  ['publicKeyText', 'public key (PEM)'],
  ['jwksText', 'set of keys (JWKS)'],
  ['secretText', 'shared secret'],
] as const;

function AuthenticatorForm({ done }: { readonly done: () => void }): VNode {
  const [name, setName] = useState('');
  const [type, setType] = useState('jwt');
  const [algorithms, setAlgorithms] = useState('ES256');
  const [kind, setKind] = useState<string>('jwksUrl');
  const [key, setKey] = useState('');
  const [issuer, setIssuer] = useState('');
  const [audience, setAudience] = useState('');
  const [url, setUrl] = useState('');
  const [remark, setRemark] = useState('');
  const fields = ['name', ...(type === 'jwt' ? ['algorithms', 'key', 'issuer', 'audience'] : ['url']), 'remark'];
  const tried = useTried(fields, (place) =>
    type === 'jwt' && KEYS.some(([one]) => place.endsWith(`.${one}`)) ? 'key' : fieldIn(fields, place),
  );
  const save = async (): Promise<void> => {
    const token = { algorithms: readItems(algorithms), [kind]: key, ...(issuer && { issuer }), ...(audience && { audience }) };
    const body = { name, type, ...(remark && { remark }), ...(type === 'jwt' ? token : { url }) };
    if (!(await tried.attempt(() => ask('POST', PATH, { body })))) return;
    say(`${name} judges logins`);
    done();
  };
  return (
    <Form label="Authenticator" onSubmit={save}>
      <Field
        label="Name"
        value={name}
        onInput={setName}
        required
        pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,63}"
        hint="Letters, digits and . _ -"
        fault={tried.faultOf('name')}
      />
      <Choice
        label="Type"
        value={type}
        options={[
          ['jwt', 'tokens (JWT)'],
          ['http', 'a service that is asked'],
        ]}
        onInput={setType}
      />
      {type === 'jwt' ? (
        <>
          <Field
            label="Algorithms"
            value={algorithms}
            onInput={setAlgorithms}
            required
            hint="Several with commas."
            fault={tried.faultOf('algorithms')}
          />
          <Choice label="Key" value={kind} options={KEYS} onInput={setKind} />
          {kind === 'jwksUrl' ? (
            <Field
              label="Address"
              hint="Of a service that gives out keys."
              value={key}
              onInput={setKey}
              required
              fault={tried.faultOf('key')}
            />
          ) : (
            <Area label="The key itself" value={key} onInput={setKey} isCode fault={tried.faultOf('key')} />
          )}
          <Field label="Issuer" value={issuer} onInput={setIssuer} hint="Empty: any." fault={tried.faultOf('issuer')} />
          <Field label="Audience" value={audience} onInput={setAudience} hint="Empty: any." fault={tried.faultOf('audience')} />
        </>
      ) : (
        <Field label="Address" value={url} onInput={setUrl} required fault={tried.faultOf('url')} />
      )}
      <Field label="Remark" value={remark} onInput={setRemark} fault={tried.faultOf('remark')} />
      <FormEnd tried={tried} action="Add" />
    </Form>
  );
}
