/**
 * Kept messages: retained ones, which new subscriptions get, and mailboxes, which hold messages for devices that have never connected.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { at } from '../api.ts';
import { any, bytes, count, isolated, time, words } from '../format.ts';
import { Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { PayloadBox } from '../parts/payload.tsx';
import { Records } from '../parts/records.tsx';
import { Facts } from '../parts/table.tsx';
import { useAsked } from '../use-asked.ts';
import { useSearch } from '../use-search.ts';

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
  const filter = useSearch('filter');
  const [shown, setShown] = useState<string | null>(null);
  return (
    <>
      <Records<Retained>
        title="Retained messages"
        isPart
        path="/api/v1/retained"
        query={{ filter: filter.settled || '#' }}
        one="retained message"
        many="retained messages"
        what="a list of retained messages"
        empty="Nothing is retained."
        needs="operator"
        nameOf={({ topic }) => topic}
        filter={
          <Form label="Search retained messages" isInline>
            <Field label="Topics that match the filter" type="search" value={filter.value} onInput={filter.set} placeholder="#" isSearch />
          </Form>
        }
        columns={[
          { title: 'Topic', cell: ({ topic }) => <code>{topic}</code>, isLong: true },
          { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
          { title: 'Size', cell: (one) => bytes(one.bytes), isNumber: true },
        ]}
        actions={({ topic }) => (
          <button type="button" class="small outline" aria-label={`Show ${topic}`} onClick={() => setShown(topic)}>
            Show
          </button>
        )}
        removal={{
          action: 'Delete',
          title: 'Delete the retained message?',
          path: ({ topic }) => at`/api/v1/retained/${topic}`,
          text: ({ topic }) => `New subscriptions do not get ${isolated(topic)} any more.`,
          done: ({ topic }) => `Nothing is retained for ${isolated(topic)} any more`,
        }}
      />
      {shown !== null && (
        <Dialog title={shown} onClose={() => setShown(null)}>
          <RetainedMessage topic={shown} />
        </Dialog>
      )}
    </>
  );
}

function RetainedMessage({ topic }: { readonly topic: string }): VNode {
  const { data, error } = useAsked<Retained>(at`/api/v1/retained/${topic}`);
  if (error !== null) return <Failure error={error} what="retained messages" />;
  if (data === null) return <p aria-busy="true">Loading</p>;
  const { payloadBase64, ...rest } = data;
  return (
    <>
      <PayloadBox base64={payloadBase64} />
      <Facts facts={Object.entries(rest).map(([name, value]) => [words(name), any(value)] as const)} />
    </>
  );
}

function Mailboxes(): VNode {
  const prefix = useSearch('mailbox');
  return (
    <Records<Mailbox>
      title="Mailboxes"
      isPart
      path="/api/v1/mailboxes"
      query={{ prefix: prefix.settled }}
      one="mailbox"
      many="mailboxes"
      empty="No message waits for a device that has never connected."
      needs="operator"
      nameOf={({ clientId }) => clientId}
      filter={
        <Form label="Search mailboxes" isInline>
          <Field label="Client ID begins with" type="search" value={prefix.value} onInput={prefix.set} />
        </Form>
      }
      columns={[
        { title: 'Client ID', cell: ({ clientId }) => clientId, isLong: true },
        { title: 'Messages', cell: ({ messages }) => count(messages), isNumber: true },
        { title: 'Size', cell: (one) => bytes(one.bytes), isNumber: true },
        { title: 'Since', cell: ({ createdAt }) => time(createdAt) },
        { title: 'Until', cell: ({ expiresAt }) => time(expiresAt) },
      ]}
      removal={{
        action: 'Empty',
        title: 'Empty the mailbox?',
        path: ({ clientId }) => at`/api/v1/mailboxes/${clientId}`,
        text: ({ clientId }) => `The messages that wait for ${isolated(clientId)} are gone then.`,
        done: ({ clientId }) => `The mailbox of ${isolated(clientId)} is empty`,
      }}
    />
  );
}
