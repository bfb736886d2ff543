/**
 * What has happened to one client lately: why it is away, or does not get in.
 */
import type { VNode } from 'preact';
import { at } from '../api.ts';
import { any, time } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Table } from '../parts/table.tsx';
import { useAsked } from '../use-asked.ts';

interface ClientEvent {
  readonly at: string;
  readonly event: 'connected' | 'disconnected' | 'subscribed' | 'unsubscribed' | 'refused';
  readonly address: string | null;
  readonly detail: string | null;
}

const SHOWN = 50;

export function ClientEvents({ clientId }: { readonly clientId: string }): VNode {
  const { data, error } = useAsked<{ readonly data: readonly ClientEvent[] }>(
    at`/api/v1/clients/${clientId}/events`,
    { limit: String(SHOWN) },
    5,
  );
  return (
    <section aria-labelledby="client-events">
      <h2 id="client-events">Lately</h2>
      {error !== null && <Failure error={error} what="what has happened to clients" />}
      {data !== null && (
        <Table<ClientEvent>
          caption={`The newest ${SHOWN} events of the client`}
          rows={data.data}
          rowKey={({ at: when, event, detail }, index) => `${when} ${event} ${detail} ${index}`}
          empty="Nothing since the broker has started, or it is too long ago."
          columns={[
            { title: 'When', cell: (one) => time(one.at) },
            { title: 'What', cell: ({ event }) => event },
            { title: 'Why, or which', cell: ({ detail }) => any(detail), isLong: true },
            { title: 'From', cell: ({ address }) => any(address) },
          ]}
        />
      )}
    </section>
  );
}
