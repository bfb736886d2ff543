/**
 * Kept messages: retained ones, which new subscriptions get, and mailboxes, which hold messages for devices that have never connected.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, bytes, count, payload, time, words } from '../format.ts';
import { confirmed, Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Field, Form, useSettled } from '../parts/fields.tsx';
import { List } from '../parts/list.tsx';
import { attempt } from '../parts/notices.tsx';
import { Facts } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

interface Retained {
  readonly topic: string;
  readonly qos: number;
  readonly bytes: number;
  readonly payloadBase64?: string;
  readonly expiresAt?: string | null;
}

interface Mailbox {
  readonly clientId: string;
  readonly messages: number;
  readonly bytes: number;
  readonly createdAt: string;
  readonly expiresAt: string | null;
}

export function RetainedPage(): VNode {
  return (
    <>
      <h1>Kept messages</h1>
      <RetainedMessages />
      <Mailboxes />
    </>
  );
}

function RetainedMessages(): VNode {
  const [filter, setFilter] = useState('#');
  const [shown, setShown] = useState<string | null>(null);
  const [changes, setChanges] = useState(0);
  const remove = async (topic: string): Promise<void> => {
    if (!(await confirmed('Delete the retained message?', `New subscriptions do not get ${topic} any more.`, 'Delete'))) return;
    if (await attempt(() => ask('DELETE', at`/api/v1/retained/${topic}`), `Nothing is retained for ${topic} any more`))
      setChanges(changes + 1);
  };
  return (
    <section aria-labelledby="retained">
      <h2 id="retained">Retained messages</h2>
      <Form label="Search retained messages" isInline onSubmit={() => setChanges(changes + 1)}>
        <Field label="Topics that match the filter" type="search" value={filter} onInput={setFilter} isSearch />
      </Form>
      <List<Retained>
        path="/api/v1/retained"
        query={{ filter: useSettled(filter) }}
        what="a list of retained messages"
        caption="Retained messages"
        empty="Nothing is retained."
        rowKey={({ topic }) => topic}
        changes={changes}
        columns={[
          { title: 'Topic', cell: ({ topic }) => <code>{topic}</code>, isLong: true },
          { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
          { title: 'Size', cell: (one) => bytes(one.bytes), isNumber: true },
          {
            title: '',
            cell: ({ topic }) => (
              <span class="buttons">
                <button type="button" class="small outline" aria-label={`Show ${topic}`} onClick={() => setShown(topic)}>
                  Show
                </button>
                {mayAs('operator') && (
                  <button type="button" class="small danger outline" aria-label={`Delete ${topic}`} onClick={() => void remove(topic)}>
                    Delete
                  </button>
                )}
              </span>
            ),
          },
        ]}
      />
      {shown !== null && (
        <Dialog title={shown} onClose={() => setShown(null)}>
          <RetainedMessage topic={shown} />
        </Dialog>
      )}
    </section>
  );
}

function RetainedMessage({ topic }: { readonly topic: string }): VNode {
  const { data, error } = useAsked<Retained>(at`/api/v1/retained/${topic}`);
  if (error !== null) return <Failure error={error} what="retained messages" />;
  if (data === null) return <p aria-busy="true">Loading</p>;
  const { payloadBase64, ...rest } = data;
  return (
    <>
      <pre class="payload">{payload(payloadBase64)}</pre>
      <Facts facts={Object.entries(rest).map(([name, value]) => [words(name), any(value)] as const)} />
    </>
  );
}

function Mailboxes(): VNode {
  const [prefix, setPrefix] = useState('');
  const [changes, setChanges] = useState(0);
  const remove = async (clientId: string): Promise<void> => {
    if (!(await confirmed('Empty the mailbox?', `The messages that wait for ${clientId} are gone then.`, 'Empty'))) return;
    if (await attempt(() => ask('DELETE', at`/api/v1/mailboxes/${clientId}`), `The mailbox of ${clientId} is empty`))
      setChanges(changes + 1);
  };
  return (
    <section aria-labelledby="mailboxes">
      <h2 id="mailboxes">Mailboxes</h2>
      <Form label="Search mailboxes" isInline onSubmit={() => setChanges(changes + 1)}>
        <Field label="Client ID begins with" type="search" value={prefix} onInput={setPrefix} />
      </Form>
      <List<Mailbox>
        path="/api/v1/mailboxes"
        query={{ prefix: useSettled(prefix) }}
        what="mailboxes"
        caption="Mailboxes"
        empty="No message waits for a device that has never connected."
        rowKey={({ clientId }) => clientId}
        changes={changes}
        columns={[
          { title: 'Client ID', cell: ({ clientId }) => clientId, isLong: true },
          { title: 'Messages', cell: ({ messages }) => count(messages), isNumber: true },
          { title: 'Size', cell: (one) => bytes(one.bytes), isNumber: true },
          { title: 'Since', cell: ({ createdAt }) => time(createdAt) },
          { title: 'Until', cell: ({ expiresAt }) => time(expiresAt) },
          {
            title: '',
            cell: ({ clientId }) =>
              mayAs('operator') && (
                <button type="button" class="small danger outline" aria-label={`Empty ${clientId}`} onClick={() => void remove(clientId)}>
                  Empty
                </button>
              ),
          },
        ]}
      />
    </section>
  );
}
