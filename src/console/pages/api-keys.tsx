/**
 * API keys: who uses the HTTP API and this console, with which role. A key is shown once, when it is made.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { NONE, time } from '../format.ts';
import { Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { Records } from '../parts/records.tsx';
import { Secret } from '../parts/secret.tsx';
import { me, ROLES } from '../session.ts';

interface ApiKey {
  readonly id: string;
  readonly role: string;
  readonly username?: string | null;
  readonly createdAt?: string;
  readonly expiresAt?: string | null;
  readonly hasEnded?: boolean;
  readonly remark?: string;
}

const MEANINGS: Readonly<Record<string, string>> = {
  service: 'service: messages only',
  viewer: 'viewer: sees everything but secrets',
  operator: 'operator: changes what runs',
  admin: 'admin: changes who may do what',
};

export function ApiKeysPage(): VNode {
  return (
    <Records<ApiKey>
      title="API keys"
      path="/api/v1/api-keys"
      isWhole
      one="API key"
      many="API keys"
      canChange={false}
      nameOf={({ id }) => id}
      columns={[
        { title: 'Name', cell: ({ id }) => id },
        { title: 'Role', cell: ({ role }) => <span class="badge">{role}</span> },
        { title: 'Username', cell: ({ username }) => username || NONE },
        { title: 'Made', cell: ({ createdAt }) => time(createdAt) },
        {
          title: 'Until',
          cell: ({ expiresAt, hasEnded }) => (expiresAt ? `${time(expiresAt)}${hasEnded ? ' (has ended)' : ''}` : 'for ever'),
        },
        { title: 'Remark', cell: ({ remark }) => remark || NONE, isLong: true },
      ]}
      removal={{
        path: ({ id }) => at`/api/v1/api-keys/${id}`,
        text: ({ id }) =>
          me.value?.name === `api key ${id}`
            ? 'This is the key that you are logged in with: you are logged out at once, and whoever else uses it is refused.'
            : 'Whoever uses it is refused from then on.',
        done: ({ id }) => `The key ${id} is removed`,
      }}
      form={(_, done) => <ApiKeyForm done={done} />}
    />
  );
}

function ApiKeyForm({ done }: { readonly done: () => void }): VNode {
  const [id, setId] = useState('');
  const [role, setRole] = useState('viewer');
  const [username, setUsername] = useState('');
  const [days, setDays] = useState('');
  const [remark, setRemark] = useState('');
  const [token, setToken] = useState('');
  const tried = useTried(['id', 'username', 'seconds', 'remark']);
  const save = async (): Promise<void> => {
    const body = {
      role,
      remark,
      ...(id !== '' && { id }),
      ...(username !== '' && { username }),
      ...(days !== '' && { seconds: Math.round(Number(days) * 86_400) }),
    };
    await tried.attempt(async () => setToken((await ask<{ readonly token: string }>('POST', '/api/v1/api-keys', { body })).token));
  };
  if (token !== '') return <Secret text="This is the key." secrets={[['API key', token]]} done={done} />;
  return (
    <Form label="API key" onSubmit={save}>
      <Field
        label="Name"
        value={id}
        onInput={setId}
        pattern="[a-z0-9]{1,32}"
        hint="Small letters and digits; empty: one is made."
        fault={tried.faultOf('id')}
      />
      <Choice label="Role" value={role} options={ROLES.map((one) => [one, MEANINGS[one]!] as const)} onInput={setRole} />
      <Field
        label="Username"
        value={username}
        onInput={setUsername}
        hint="By which the statements judge what it publishes; empty: a name of its own."
        fault={tried.faultOf('username')}
      />
      <Field
        label="For (days)"
        type="number"
        step="any"
        min={0}
        value={days}
        onInput={setDays}
        hint="Empty: for ever."
        fault={tried.faultOf('seconds')}
      />
      <Field label="Remark" value={remark} onInput={setRemark} fault={tried.faultOf('remark')} />
      <FormEnd tried={tried} action="Make the key" />
    </Form>
  );
}
