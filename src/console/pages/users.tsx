/**
 * Users: who logs in by name and password, and what is known of them.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, NONE, yesNo } from '../format.ts';
import { Area, Check, Field, Form, useSettled } from '../parts/fields.tsx';
import { failureText, say } from '../parts/notices.tsx';
import { pairsText, Records, readPairs } from '../parts/records.tsx';
import { Secret } from '../parts/secret.tsx';

interface User {
  readonly username: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly isSuperuser: boolean;
  readonly remark: string;
  readonly scram: boolean;
  /** One that the broker has made. */
  readonly password?: string;
}

export function UsersPage(): VNode {
  const [prefix, setPrefix] = useState('');
  return (
    <Records<User>
      title="Users"
      path="/api/v1/users"
      query={{ prefix: useSettled(prefix) }}
      one="user"
      many="users"
      filter={
        <Form label="Search users" isInline onSubmit={() => {}}>
          <Field label="Name begins with" type="search" value={prefix} onInput={setPrefix} isSearch />
        </Form>
      }
      nameOf={({ username }) => username}
      columns={[
        { title: 'Username', cell: ({ username }) => username, isLong: true },
        { title: 'Superuser', cell: ({ isSuperuser }) => yesNo(isSuperuser) },
        { title: 'SCRAM', cell: ({ scram }) => yesNo(scram) },
        { title: 'Attributes', cell: ({ attributes }) => any(attributes), isLong: true },
        { title: 'Remark', cell: ({ remark }) => remark || NONE, isLong: true },
      ]}
      removePath={({ username }) => at`/api/v1/users/${username}`}
      removeText={({ username }) => `Connections of ${username} end, and nobody logs in by this name any more.`}
      form={(user, done) => <UserForm user={user} done={done} />}
    />
  );
}

function UserForm({ user, done }: { readonly user: User | null; readonly done: () => void }): VNode {
  const [username, setUsername] = useState(user?.username ?? '');
  const [password, setPassword] = useState('');
  const [attributes, setAttributes] = useState(pairsText(user?.attributes));
  const [isSuperuser, setSuperuser] = useState(user?.isSuperuser ?? false);
  const [scram, setScram] = useState(user?.scram ?? false);
  const [remark, setRemark] = useState(user?.remark ?? '');
  const [made, setMade] = useState('');
  const [failure, setFailure] = useState('');
  const save = async (): Promise<void> => {
    const facts = { attributes: readPairs(attributes), isSuperuser, scram, remark, ...(password !== '' && { password }) };
    try {
      const saved =
        user === null
          ? await ask<User>('POST', '/api/v1/users', { body: { username, ...facts } })
          : await ask<User>('PUT', at`/api/v1/users/${username}`, { body: facts });
      say(`${username} is saved`);
      if (saved.password === undefined) done();
      else setMade(saved.password);
    } catch (error) {
      setFailure(failureText(error));
    }
  };
  if (made !== '') return <Secret text={`The broker has made a password for ${username}.`} secrets={[['Password', made]]} done={done} />;
  return (
    <Form label="User" onSubmit={save}>
      {user === null && <Field label="Username" value={username} onInput={setUsername} required />}
      <Field
        label={user === null ? 'Password' : 'New password'}
        type="password"
        value={password}
        onInput={setPassword}
        autocomplete="new-password"
        hint={user === null ? 'Empty: the broker makes one.' : 'Empty: it stays as it is.'}
      />
      <Area label="Attributes" value={attributes} onInput={setAttributes} hint="One in a line, such as group: pumps" isCode />
      <Check label="Superuser: may do everything" isChecked={isSuperuser} onInput={setSuperuser} />
      <Check label="May log in by SCRAM, too" isChecked={scram} onInput={setScram} />
      <Field label="Remark" value={remark} onInput={setRemark} />
      {failure !== '' && (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      <button type="submit">Save</button>
    </Form>
  );
}
