/**
 * Audit log: who has changed what through the API.
 */
import type { VNode } from 'preact';
import { any, NONE, time } from '../format.ts';
import { Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { List } from '../parts/list.tsx';
import { useSearch } from '../use-search.ts';

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
  const caller = useSearch('caller');
  const action = useSearch('action');
  return (
    <>
      <h1>Audit log</h1>
      <Form label="Search the audit log" isInline>
        <Field label="Who" type="search" value={caller.value} onInput={caller.set} isSearch placeholder="api key backup" />
        <Field label="What" type="search" value={action.value} onInput={action.set} placeholder="addUser" />
      </Form>
      <List<Entry>
        path="/api/v1/audit"
        query={{ caller: caller.settled, action: action.settled }}
        what="an audit log"
        caption="Audit log"
        empty="Nothing has been changed."
        isInAddress
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
