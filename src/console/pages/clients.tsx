/**
 * Clients: found by their names, states and addresses; a click leads to one of them.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { briefTime, count, NONE, time } from '../format.ts';
import { Choice, Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { List } from '../parts/list.tsx';
import type { Column } from '../parts/table.tsx';
import { type Place, placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useSearch } from '../use-search.ts';
import { ClientPage } from './client.tsx';
import type { ClientFacts } from './client-facts.ts';
import { kick } from './kick.ts';

export function ClientsPage({ place }: { readonly place: Place }): VNode {
  const clientId = place.levels[1];
  return clientId === undefined ? <Clients /> : <ClientPage key={clientId} clientId={clientId} />;
}

function since({ connectedAt, disconnectedAt }: ClientFacts): VNode {
  const moment = connectedAt ?? disconnectedAt;
  return <span title={time(moment)}>{briefTime(moment)}</span>;
}

function Clients(): VNode {
  const prefix = useSearch('prefix');
  const state = useSearch('state');
  const username = useSearch('username');
  const address = useSearch('address');
  const [changes, setChanges] = useState(0);
  const query = { prefix: prefix.settled, state: state.settled, username: username.settled, address: address.settled };
  const columns: Column<ClientFacts>[] = [
    { title: 'Client ID', cell: ({ clientId }) => <a href={placeOf(['clients', clientId])}>{clientId}</a>, isLong: true },
    { title: 'State', cell: ({ state: one }) => <span class={`badge ${one}`}>{one}</span> },
    { title: 'Username', cell: ({ username: one }) => one ?? NONE, isLong: true },
    { title: 'Address', cell: ({ address: one }) => one ?? NONE },
    { title: 'Since', cell: since },
    { title: 'Subscriptions', cell: ({ subscriptions }) => count(subscriptions), isNumber: true },
    { title: 'In flight', cell: ({ inflight }) => count(inflight), isNumber: true },
    { title: 'Queued', cell: ({ queued }) => count(queued), isNumber: true },
    { title: 'Shard', cell: ({ shard }) => shard, isNumber: true },
  ];
  if (mayAs('operator'))
    columns.push({
      title: '',
      cell: ({ clientId, state: one }) =>
        one === 'connected' && (
          <button
            type="button"
            class="small danger outline"
            aria-label={`Disconnect ${clientId}`}
            onClick={() => void kick(clientId, false).then((isDone) => isDone && setChanges(changes + 1))}
          >
            Disconnect
          </button>
        ),
    });
  return (
    <>
      <h1>Clients</h1>
      <Form label="Search clients" isInline onSubmit={() => setChanges(changes + 1)}>
        <Field label="Client ID begins with" type="search" value={prefix.value} onInput={prefix.set} isSearch />
        <Choice
          label="State"
          value={state.value}
          options={[
            ['', 'any'],
            ['connected', 'connected'],
            ['disconnected', 'disconnected'],
          ]}
          onInput={state.set}
        />
        <Field label="Username" type="search" value={username.value} onInput={username.set} />
        <Field label="Address" type="search" value={address.value} onInput={address.set} />
        <button type="submit" class="secondary">
          Search
        </button>
      </Form>
      <List<ClientFacts>
        path="/api/v1/clients"
        query={query}
        what="a list of clients"
        caption="Clients"
        empty="No client fits."
        rowKey={({ clientId }) => clientId}
        columns={columns}
        changes={changes}
        isInAddress
      />
    </>
  );
}
