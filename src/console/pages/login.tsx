/**
 * The login: an API key or token, or a name and a password, typed once for this tab.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, ask } from '../api.ts';
import { Choice, Field } from '../parts/fields.tsx';
import { Form, FormFailure } from '../parts/form.tsx';
import { basic, farewell, keepLogin, type Me } from '../session.ts';

export function LoginPage(): VNode {
  const [way, setWay] = useState('key');
  const [key, setKey] = useState('');
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [failure, setFailure] = useState('');
  const [isBusy, setBusy] = useState(false);

  const enter = async (): Promise<void> => {
    if (way === 'key' && /[^\x21-\x7e]/.test(key.trim())) {
      setFailure('This is no key or token: those have Latin letters, digits and signs only, and no spaces.');
      return;
    }
    const authorization = way === 'key' ? `Bearer ${key.trim()}` : basic(username, password);
    setBusy(true);
    setFailure('');
    try {
      keepLogin(authorization, await ask<Me>('GET', '/api/v1/me', { authorization }));
    } catch (error) {
      const isWrong = error instanceof ApiError && error.status === 401;
      const wrong = way === 'key' ? 'The broker does not know this key or token, or it has ended.' : 'The name or the password is wrong.';
      setFailure(isWrong ? wrong : (error as Error).message);
      setBusy(false);
    }
  };

  return (
    <main class="login">
      <h1>onehop console</h1>
      {farewell.value !== '' && <p role="status">{farewell.value}</p>}
      <Form label="Log in" onSubmit={enter}>
        <Choice
          label="Log in with"
          value={way}
          options={[
            ['key', 'API key or token'],
            ['password', 'Name and password'],
          ]}
          onInput={setWay}
        />
        {way === 'key' ? (
          <Field
            label="API key or token"
            type="password"
            value={key}
            onInput={setKey}
            required
            placeholder="ohk_…"
            autocomplete="current-password"
          />
        ) : (
          <>
            <Field label="Name" value={username} onInput={setUsername} required autocomplete="username" />
            <Field label="Password" type="password" value={password} onInput={setPassword} required autocomplete="current-password" />
          </>
        )}
        <FormFailure text={failure} />
        <button type="submit" aria-busy={isBusy} disabled={isBusy}>
          Log in
        </button>
      </Form>
      <p class="hint">
        <code>onehop apikey add --role viewer</code> makes a key. It is kept in this tab until that is closed.
      </p>
    </main>
  );
}
