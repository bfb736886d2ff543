/**
 * Users: who logs in by name and password, and what is known of them.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, isolated, NONE, yesNo } from '../format.ts';
import { attributesFault, PAIRS_HINT, pairsText, readPairs } from '../pairs.ts';
import { Area, Check, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { say } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';
import { Secret } from '../parts/secret.tsx';
import { useSearch } from '../use-search.ts';

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
  const prefix = useSearch('prefix');
  return (
    <Records<User>
      title="Users"
      path="/api/v1/users"
      query={{ prefix: prefix.settled }}
      one="user"
      many="users"
      filter={
        <Form label="Search users" isInline>
          <Field label="Name begins with" type="search" value={prefix.value} onInput={prefix.set} isSearch />
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
      removal={{
        path: ({ username }) => at`/api/v1/users/${username}`,
        text: ({ username }) => `Connections of ${isolated(username)} end, and nobody logs in by this name any more.`,
        done: ({ username }) => `${isolated(username)} is removed`,
      }}
      pathOf={({ username }) => at`/api/v1/users/${username}`}
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
  const tried = useTried([...(user === null ? ['username'] : []), 'password', 'attributes', 'remark']);
  const save = async (): Promise<void> => {
    const wrong = attributesFault(attributes, user?.attributes);
    if (wrong !== '') {
      tried.fail(wrong, 'attributes');
      return;
    }
    // Only what was changed here: the rest stays as somebody else may be changing it.
    const facts = {
      ...(attributes !== pairsText(user?.attributes) && { attributes: readPairs(attributes) }),
      ...(isSuperuser !== (user?.isSuperuser ?? false) && { isSuperuser }),
      ...(scram !== (user?.scram ?? false) && { scram }),
      ...(remark !== (user?.remark ?? '') && { remark }),
      ...(password !== '' && { password }),
    };
    await tried.attempt(async () => {
      const saved =
        user === null
          ? await ask<User>('POST', '/api/v1/users', { body: { username, ...facts } })
          : await ask<User>('PUT', at`/api/v1/users/${username}`, { body: facts });
      say(`${isolated(username)} is saved`);
      if (saved.password === undefined) done();
      else setMade(saved.password);
    });
  };
  if (made !== '')
    return <Secret text={`The broker has made a password for ${isolated(username)}.`} secrets={[['Password', made]]} done={done} />;
  return (
    <Form label="User" onSubmit={save}>
      {user === null && <Field label="Username" value={username} onInput={setUsername} required fault={tried.faultOf('username')} />}
      <Field
        label={user === null ? 'Password' : 'New password'}
        type="password"
        value={password}
        onInput={setPassword}
        autocomplete="new-password"
        hint={user === null ? 'Empty: the broker makes one.' : 'Empty: it stays as it is.'}
        fault={tried.faultOf('password')}
      />
      <Area label="Attributes" value={attributes} onInput={setAttributes} hint={PAIRS_HINT} isCode fault={tried.faultOf('attributes')} />
      <Check label="Superuser: may do everything" isChecked={isSuperuser} onInput={setSuperuser} />
      <Check label="May log in by SCRAM, too" isChecked={scram} onInput={setScram} />
      <Field label="Remark" value={remark} onInput={setRemark} fault={tried.faultOf('remark')} />
      <FormEnd tried={tried} action="Save" />
    </Form>
  );
}
