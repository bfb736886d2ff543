/**
 * One client: its connection, its session, its subscriptions, and what may be done on its behalf.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, bytes, count, duration, isolated, NONE, time, words, yesNo } from '../format.ts';
import { confirmed } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field, QOS_OPTIONS } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { attempt } from '../parts/notices.tsx';
import { PayloadBox } from '../parts/payload.tsx';
import { Facts, Table, useKeptFocus } from '../parts/table.tsx';
import { go, placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';
import { ClientEvents } from './client-events.tsx';
import type { ClientDetail, SubscriptionFacts } from './client-facts.ts';
import { kick } from './kick.ts';

const VERSIONS: Readonly<Record<number, string>> = { 3: 'MQTT 3.1', 4: 'MQTT 3.1.1', 5: 'MQTT 5.0' };
/** Session Expiry Interval of a session that does not end. */
const FOREVER = 0xffffffff;

export function ClientPage({ clientId }: { readonly clientId: string }): VNode {
  const { data, error, reload } = useAsked<ClientDetail>(at`/api/v1/clients/${clientId}`, {}, 5);
  return (
    <>
      <p>
        <a href={placeOf(['clients'])}>All clients</a>
      </p>
      <h1 class="long">{clientId}</h1>
      {error !== null &&
        (error.code === 'no-session' || error.status === 404 ? (
          <p class="empty">The broker has no session of this client.</p>
        ) : (
          <Failure error={error} what="details of clients" />
        ))}
      {data !== null && error === null && <Detail client={data} reload={reload} />}
      <ClientEvents clientId={clientId} />
    </>
  );
}

function Detail({ client, reload }: { readonly client: ClientDetail; readonly reload: () => void }): VNode {
  const { clientId, state, will } = client;
  const isConnected = state === 'connected';
  const actions = useKeptFocus<HTMLParagraphElement>();
  const end = async (isSessionToo: boolean): Promise<void> => {
    if (!(await kick(clientId, isSessionToo))) return;
    if (isSessionToo) go(['clients']);
    else reload();
  };
  return (
    <>
      <p class="actions" ref={actions} tabIndex={-1}>
        <span class={`badge ${state}`}>{state}</span>
        <a href={placeOf(['send'], { clientId })}>Send a message</a>
        {mayAs('operator') && isConnected && (
          <button type="button" class="small danger outline" onClick={() => void end(false)}>
            Disconnect
          </button>
        )}
        {mayAs('operator') && (
          <button type="button" class="small danger outline" onClick={() => void end(true)}>
            End the session
          </button>
        )}
      </p>
      <Facts
        facts={[
          ['Username', client.username ?? NONE],
          ['Address', client.address ?? NONE],
          ['Listener', any(client.listener)],
          ['Transport', client.transport ?? NONE],
          ['Protocol', client.protocol === undefined ? NONE : (VERSIONS[client.protocol] ?? String(client.protocol))],
          ['Keep alive', client.keepAliveSeconds === 0 ? 'off' : duration(client.keepAliveSeconds)],
          [isConnected ? 'Connected since' : 'Disconnected since', time(isConnected ? client.connectedAt : client.disconnectedAt)],
          ['Session began', time(client.createdAt)],
          [
            'Session ends',
            client.sessionExpirySeconds === FOREVER ? 'never' : `${duration(client.sessionExpirySeconds)} after the connection`,
          ],
          ['In flight', `${count(client.inflight)} of ${count(client.receiveMaximum)}`],
          ['Queued', `${count(client.queued)} messages, ${bytes(client.queuedBytes)}`],
          ['Not yet taken by the network', bytes(client.outboundBytes)],
          ['Throttled by a quota', yesNo(client.isThrottled)],
          ['Let in by', client.authenticator ?? NONE],
          ['Superuser', yesNo(client.isSuperuser)],
          ['Outlives the broker', yesNo(client.isStored)],
          ['Largest packet', bytes(client.packetBytesMax)],
          ['Shard', String(client.shard)],
          ['Attributes', any(client.attributes)],
        ]}
      />
      <h2>Will</h2>
      {will === null || will === undefined ? <p class="empty">It has left no Will.</p> : <Will will={will} />}
      <Subscriptions client={client} reload={reload} />
    </>
  );
}

function Will({ will }: { readonly will: NonNullable<ClientDetail['will']> }): VNode {
  const { payloadBase64, ...rest } = will;
  return (
    <>
      <Facts facts={Object.entries(rest).map(([name, value]) => [words(name), any(value)] as const)} />
      <PayloadBox base64={payloadBase64} />
    </>
  );
}

function Subscriptions({ client, reload }: { readonly client: ClientDetail; readonly reload: () => void }): VNode {
  const { clientId, subscriptionList = [] } = client;
  const remove = async (filter: string): Promise<void> => {
    const text = `${isolated(clientId)} gets no more messages of ${isolated(filter)}, and is not told. It may subscribe again.`;
    if (!(await confirmed('Unsubscribe it?', text, 'Unsubscribe'))) return;
    const isDone = await attempt(
      () => ask('DELETE', at`/api/v1/clients/${clientId}/subscriptions/${filter}`),
      `Unsubscribed from ${filter}`,
    );
    if (isDone) reload();
  };
  return (
    <section aria-labelledby="client-subscriptions">
      <h2 id="client-subscriptions">Subscriptions</h2>
      <Table<SubscriptionFacts>
        caption="Subscriptions of the client"
        rows={subscriptionList}
        rowKey={({ filter }) => filter}
        empty="It has no subscription."
        columns={[
          { title: 'Filter', cell: ({ filter }) => <code>{filter}</code>, isLong: true },
          { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
          { title: 'No local', cell: ({ noLocal }) => yesNo(noLocal) },
          { title: 'Retain as published', cell: ({ retainAsPublished }) => yesNo(retainAsPublished) },
          { title: 'Retain handling', cell: ({ retainHandling }) => any(retainHandling), isNumber: true },
          { title: 'Identifier', cell: ({ identifier }) => any(identifier), isNumber: true },
          {
            title: '',
            cell: ({ filter }) =>
              mayAs('operator') && (
                <button type="button" class="small outline" aria-label={`Unsubscribe from ${filter}`} onClick={() => void remove(filter)}>
                  Unsubscribe
                </button>
              ),
          },
        ]}
      />
      {mayAs('operator') && <Subscribe clientId={clientId} reload={reload} />}
    </section>
  );
}

function Subscribe({ clientId, reload }: { readonly clientId: string; readonly reload: () => void }): VNode {
  const [filter, setFilter] = useState('');
  const [qos, setQos] = useState('1');
  const subscribe = async (): Promise<void> => {
    const isDone = await attempt(
      () => ask('PUT', at`/api/v1/clients/${clientId}/subscriptions/${filter}`, { body: { qos: Number(qos) } }),
      `Subscribed to ${filter}`,
    );
    if (!isDone) return;
    setFilter('');
    reload();
  };
  return (
    <Form label="Subscribe on its behalf" isInline onSubmit={subscribe}>
      <Field label="Subscribe it to" value={filter} onInput={setFilter} required placeholder="fleet/+/state" />
      <Choice label="QoS" value={qos} options={QOS_OPTIONS} onInput={setQos} />
      <button type="submit">Subscribe</button>
    </Form>
  );
}
