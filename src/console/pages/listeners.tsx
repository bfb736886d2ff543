/**
 * Listeners: the ways in, who uses them, and until when their certificates are good.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { count, NONE, time } from '../format.ts';
import { List } from '../parts/list.tsx';
import { failureText, say } from '../parts/notices.tsx';
import { mayAs } from '../session.ts';

interface CertificateFacts {
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  readonly endsAt: string;
  readonly fingerprint: string;
}

interface Listener {
  readonly place: number;
  readonly type: string;
  readonly address: string;
  readonly port: number;
  readonly connections: number;
  readonly connectionsMax: number;
  readonly verifyClient: string | null;
  readonly certificates: readonly CertificateFacts[];
}

interface Reading {
  readonly place: number;
  readonly isChanged: boolean;
  readonly error: string | null;
}

/** A certificate that ends sooner is marked. */
const SOON_MILLISECONDS = 30 * 86_400_000;

export function ListenersPage(): VNode {
  const [changes, setChanges] = useState(0);
  const reload = async (): Promise<void> => {
    try {
      const { data } = await ask<{ readonly data: readonly Reading[] }>('POST', '/api/v1/listeners/reload-certificates');
      const wrong = data.filter(({ error }) => error !== null);
      for (const { place, error } of wrong) say(`Listener ${place + 1}: ${error}`, true);
      const changed = data.filter(({ isChanged }) => isChanged).length;
      if (wrong.length === 0) say(`The certificates are read again; ${changed} of ${data.length} listeners have others now`);
    } catch (error) {
      say(failureText(error), true);
    }
    setChanges(changes + 1);
  };
  return (
    <>
      <div class="heading">
        <h1>Listeners</h1>
        {mayAs('operator') && (
          <button type="button" class="secondary" onClick={() => void reload()}>
            Read the certificates again
          </button>
        )}
      </div>
      <List<Listener>
        path="/api/v1/listeners"
        limit={null}
        what="a list of listeners"
        caption="Listeners"
        empty="There is none."
        rowKey={({ place }) => String(place)}
        everySeconds={10}
        changes={changes}
        columns={[
          { title: 'No.', cell: ({ place }) => place + 1, isNumber: true },
          { title: 'Type', cell: ({ type }) => type },
          { title: 'Address', cell: ({ type, address, port }) => (type === 'unix' ? address : `${address}:${port}`), isLong: true },
          {
            title: 'Connections',
            cell: ({ connections, connectionsMax }) => `${count(connections)} of ${count(connectionsMax)}`,
            isNumber: true,
          },
          { title: 'Client certificate', cell: ({ verifyClient }) => verifyClient ?? NONE },
          {
            title: 'Certificates',
            cell: ({ certificates }) =>
              certificates.length === 0
                ? NONE
                : certificates.map(({ subject, names, fingerprint }) => (
                    <div key={fingerprint}>{`${subject}${names.length === 0 ? '' : ` (${names.join(', ')})`}`}</div>
                  )),
            isLong: true,
          },
          {
            title: 'Valid until',
            cell: ({ certificates }) =>
              certificates.length === 0 ? NONE : certificates.map((one) => <End key={one.fingerprint} endsAt={one.endsAt} />),
          },
        ]}
      />
    </>
  );
}

function End({ endsAt }: { readonly endsAt: string }): VNode {
  const left = Date.parse(endsAt) - Date.now();
  return (
    <div>
      {time(endsAt)} {left < SOON_MILLISECONDS && <span class="badge deny">{left < 0 ? 'has ended' : 'ends soon'}</span>}
    </div>
  );
}
