/**
 * Subscriptions: who gets what, by filter, topic or client; and shared subscriptions with their groups.
 */
import type { VNode } from 'preact';
import { at, type Page } from '../api.ts';
import { count, NONE } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { List } from '../parts/list.tsx';
import { Facts } from '../parts/table.tsx';
import { type Place, placeOf } from '../place.ts';
import { useAsked } from '../use-asked.ts';
import { useSearch } from '../use-search.ts';
import type { SubscriptionFacts } from './client-facts.ts';

interface Group {
  readonly name: string;
  readonly filter: string;
  readonly members: number;
  readonly online: number;
  readonly lag: number;
  readonly inflight: number;
}

interface GroupDetail extends Group, Page<Member> {
  readonly strategy: string;
}

interface Member {
  readonly clientId: string;
  readonly state: string;
  readonly qos: number;
  readonly lag: number;
  readonly inflight: number;
}

export function SubscriptionsPage({ place }: { readonly place: Place }): VNode {
  const [, name, filter] = place.levels;
  if (name !== undefined && filter !== undefined) return <GroupPage name={name} filter={filter} />;
  return (
    <>
      <h1>Subscriptions</h1>
      <Subscriptions />
      <Groups />
    </>
  );
}

function Subscriptions(): VNode {
  const by = useSearch('by', 'topic');
  const text = useSearch('value');
  const query = { [by.settled]: text.settled };
  return (
    <section aria-label="All subscriptions">
      <Form label="Search subscriptions" isInline>
        <Choice
          label="Those"
          value={by.value}
          options={[
            ['topic', 'that match the topic'],
            ['filter', 'with the filter'],
            ['clientId', 'of the client'],
            ['group', 'of the group'],
          ]}
          onInput={by.set}
        />
        <Field
          label="Value"
          type="search"
          value={text.value}
          onInput={text.set}
          isSearch
          placeholder={by.value === 'topic' ? 'fleet/dev-1/state' : ''}
        />
      </Form>
      <List<SubscriptionFacts>
        path="/api/v1/subscriptions"
        query={query}
        what="a list of subscriptions"
        caption="Subscriptions"
        empty="No subscription fits."
        rowKey={({ clientId, filter, group }) => `${clientId} ${group} ${filter}`}
        columns={[
          { title: 'Client ID', cell: ({ clientId }) => <a href={placeOf(['clients', clientId!])}>{clientId}</a>, isLong: true },
          { title: 'Filter', cell: ({ filter }) => <code>{filter}</code>, isLong: true },
          { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
          { title: 'Group', cell: ({ group }) => group ?? NONE },
        ]}
      />
    </section>
  );
}

function Groups(): VNode {
  return (
    <section aria-labelledby="groups">
      <h2 id="groups">Shared subscriptions</h2>
      <List<Group>
        path="/api/v1/groups"
        what="shared subscriptions"
        caption="Groups"
        empty="No client shares a subscription."
        rowKey={({ name, filter }) => `${name} ${filter}`}
        columns={[
          { title: 'Group', cell: ({ name, filter }) => <a href={placeOf(['subscriptions', name, filter])}>{name}</a> },
          { title: 'Filter', cell: ({ filter }) => <code>{filter}</code>, isLong: true },
          { title: 'Members', cell: ({ members }) => count(members), isNumber: true },
          { title: 'Connected', cell: ({ online }) => count(online), isNumber: true },
          { title: 'Messages that wait', cell: ({ lag }) => count(lag), isNumber: true },
          { title: 'In flight', cell: ({ inflight }) => count(inflight), isNumber: true },
        ]}
      />
    </section>
  );
}

function GroupPage({ name, filter }: { readonly name: string; readonly filter: string }): VNode {
  const path = at`/api/v1/groups/${name}/${filter}`;
  const { data, error } = useAsked<GroupDetail>(path, { limit: 1 }, 5);
  return (
    <>
      <p>
        <a href={placeOf(['subscriptions'])}>All subscriptions</a>
      </p>
      <h1 class="long">{name}</h1>
      {error !== null && <Failure error={error} what="this shared subscription" />}
      {data !== null && (
        <>
          <Facts
            facts={[
              ['Filter', <code key="filter">{filter}</code>],
              ['Members', `${count(data.members)}, of which ${count(data.online)} are connected`],
              ['Messages that wait', count(data.lag)],
              ['In flight', count(data.inflight)],
              ['Strategy', data.strategy],
            ]}
          />
          <List<Member>
            path={path}
            what="members of groups"
            caption="Members"
            empty="It has no member."
            rowKey={({ clientId }) => clientId}
            everySeconds={5}
            columns={[
              { title: 'Client ID', cell: ({ clientId }) => <a href={placeOf(['clients', clientId])}>{clientId}</a>, isLong: true },
              { title: 'State', cell: ({ state }) => <span class={`badge ${state}`}>{state}</span> },
              { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
              { title: 'Messages that wait', cell: ({ lag }) => count(lag), isNumber: true },
              { title: 'In flight', cell: ({ inflight }) => count(inflight), isNumber: true },
            ]}
          />
        </>
      )}
    </>
  );
}
