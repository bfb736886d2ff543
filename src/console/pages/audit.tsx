/**
 * Audit log: who has changed what through the API.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { any, NONE, time } from '../format.ts';
import { Field, Form, useSettled } from '../parts/fields.tsx';
import { List } from '../parts/list.tsx';

interface Entry {
  readonly at: string;
  readonly caller: string;
  readonly action: string;
  readonly method: string;
  readonly path: string;
  readonly query?: string;
  readonly address?: string;
  readonly status: number;
  readonly id: string;
  readonly facts?: Readonly<Record<string, unknown>>;
}

export function AuditPage(): VNode {
  const [caller, setCaller] = useState('');
  const [action, setAction] = useState('');
  return (
    <>
      <h1>Audit log</h1>
      <Form label="Search the audit log" isInline onSubmit={() => {}}>
        <Field label="Who" type="search" value={caller} onInput={setCaller} isSearch placeholder="api key backup" />
        <Field label="What" type="search" value={action} onInput={setAction} placeholder="addUser" />
      </Form>
      <List<Entry>
        path="/api/v1/audit"
        query={{ caller: useSettled(caller), action: useSettled(action) }}
        what="an audit log"
        caption="Audit log"
        empty="Nothing has been changed."
        rowKey={({ id, at }, index) => `${id} ${at} ${index}`}
        columns={[
          { title: 'Time', cell: ({ at }) => time(at) },
          { title: 'Who', cell: ({ caller }) => caller },
          { title: 'What', cell: ({ action }) => action },
          {
            title: 'Request',
            cell: ({ method, path, query }) => <code>{`${method} ${path}${query ? `?${query}` : ''}`}</code>,
            isLong: true,
          },
          { title: 'Asked for', cell: ({ facts }) => any(facts), isLong: true },
          { title: 'From', cell: ({ address }) => address || NONE },
          { title: 'Status', cell: ({ status }) => status, isNumber: true },
        ]}
      />
    </>
  );
}
