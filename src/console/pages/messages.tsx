/**
 * Messages: those of the history, by topic, time, publisher or ID; and what became of one of them.
 */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { at } from '../api.ts';
import { any, bytes, duration, time, words } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { List } from '../parts/list.tsx';
import { PayloadBox, PayloadPreview } from '../parts/payload.tsx';
import { Facts } from '../parts/table.tsx';
import { Timeline, type TraceEvent } from '../parts/timeline.tsx';
import { go, type Place, placeOf } from '../place.ts';
import { useAsked } from '../use-asked.ts';

interface Message {
  readonly id: string;
  readonly at: string;
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  /** Empty: the broker itself. */
  readonly publisher: string;
  /** Whom a P2P message went to; null: it was none. */
  readonly targets: readonly string[] | null;
  readonly bytes: number;
  readonly expirySeconds: number | null;
  /** Null for a viewer. */
  readonly payloadBase64: string | null;
  readonly payloadCut: boolean;
  readonly properties: Readonly<Record<string, unknown>> | null;
}

/** Fields of the search, as the address and the API name them. */
const FIELDS = ['filter', 'publisher', 'target', 'from', 'to', 'order'] as const;
type Search = Readonly<Record<(typeof FIELDS)[number], string>>;

export function MessagesPage({ place }: { readonly place: Place }): VNode {
  const id = place.levels[1];
  return id === undefined ? <Messages place={place} /> : <MessagePage key={id} id={id} search={searchIn(place)} />;
}

function searchIn({ query }: Place): Search {
  return Object.fromEntries(FIELDS.map((name) => [name, query.get(name) ?? ''])) as Search;
}

/** What a field for a time holds, as the API wants it; '' for nothing. */
function instant(local: string): string {
  return local === '' || Number.isNaN(Date.parse(local)) ? '' : new Date(local).toISOString();
}

/** The same the other way round: an address means one moment wherever it is opened. */
function localTime(moment: string): string {
  const at = Date.parse(moment);
  if (Number.isNaN(at)) return '';
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace(/:00$/, '');
}

function Messages({ place }: { readonly place: Place }): VNode {
  const asked = searchIn(place);
  const [draft, setDraft] = useState(asked);
  const [id, setId] = useState('');
  const [changes, setChanges] = useState(0);
  const address = FIELDS.map((name) => asked[name]).join('\n');
  useEffect(() => setDraft(asked), [address]);
  const set = (name: keyof Search) => (value: string) => setDraft({ ...draft, [name]: value });
  const search = (): void => {
    if (id !== '') {
      go(['messages', id.trim().toLowerCase()], draft);
      return;
    }
    go(['messages'], draft);
    // The same again: what has come meanwhile.
    setChanges(changes + 1);
  };
  return (
    <>
      <h1>Messages</h1>
      <Form label="Search messages" isInline onSubmit={search}>
        <Field label="Topics that match the filter" type="search" value={draft.filter} onInput={set('filter')} placeholder="#" isSearch />
        <Field label="Publisher" type="search" value={draft.publisher} onInput={set('publisher')} placeholder="client ID" />
        <Field label="To the client (P2P)" type="search" value={draft.target} onInput={set('target')} placeholder="client ID" />
        <Field label="From" type="datetime-local" step={1} value={localTime(draft.from)} onInput={(local) => set('from')(instant(local))} />
        <Field label="Until" type="datetime-local" step={1} value={localTime(draft.to)} onInput={(local) => set('to')(instant(local))} />
        <Choice
          label="First"
          value={draft.order}
          options={[
            ['', 'the newest'],
            ['oldest', 'the oldest'],
          ]}
          onInput={set('order')}
        />
        <Field
          label="Message ID"
          type="search"
          value={id}
          onInput={setId}
          pattern="\s*[0-9a-fA-F]{32}\s*"
          placeholder="32 hexadecimal digits"
        />
        <button type="submit">Search</button>
      </Form>
      <List<Message>
        path="/api/v1/messages"
        query={asked}
        what="the history of messages"
        caption="Messages"
        empty="No message fits."
        rowKey={(one) => one.id}
        changes={changes}
        isInAddress
        columns={[
          { title: 'Time', cell: (one) => <a href={placeOf(['messages', one.id], asked)}>{time(one.at)}</a> },
          { title: 'Topic', cell: ({ topic }) => <code>{topic}</code>, isLong: true },
          { title: 'QoS', cell: ({ qos }) => qos, isNumber: true },
          { title: 'Publisher', cell: (one) => one.publisher || 'the broker', isLong: true },
          { title: 'To', cell: (one) => any(one.targets), isLong: true },
          { title: 'Size', cell: (one) => bytes(one.bytes), isNumber: true },
          {
            title: 'Payload',
            cell: (one) => <PayloadPreview base64={one.payloadBase64} />,
            isLong: true,
          },
        ]}
      />
    </>
  );
}

function MessagePage({ id, search }: { readonly id: string; readonly search: Search }): VNode {
  const { data, error } = useAsked<Message>(at`/api/v1/messages/${id}`);
  const trace = useAsked<{ readonly events: readonly TraceEvent[] }>(at`/api/v1/messages/${id}/trace`);
  return (
    <>
      <p>
        <a href={placeOf(['messages'], search)}>Back to the messages</a>
      </p>
      <h1 class="long">Message {id}</h1>
      {error !== null && <Failure error={error} what="this message in its history" />}
      {data !== null && (
        <>
          <Facts
            facts={[
              ['Topic', <code key="topic">{data.topic}</code>],
              ['Time', time(data.at)],
              ['QoS', String(data.qos)],
              ['Retain', any(data.retain)],
              ['Publisher', data.publisher || 'the broker'],
              ['To', any(data.targets)],
              ['Size', bytes(data.bytes)],
              ['Expires after', data.expirySeconds === null ? 'never' : duration(data.expirySeconds)],
              ...Object.entries(data.properties ?? {}).map(([name, value]) => [words(name), any(value)] as const),
            ]}
          />
          <h2>Payload</h2>
          {data.payloadBase64 === null ? <p class="hint">It is shown to operators.</p> : <PayloadBox base64={data.payloadBase64} />}
          {data.payloadCut && <p class="hint">Only its beginning was kept.</p>}
        </>
      )}
      <h2>Its way</h2>
      {trace.error !== null ? (
        <Failure error={trace.error} what="a trace of this message" />
      ) : (
        trace.data !== null && (
          <>
            <Timeline caption="Trace of the message" events={trace.data.events} />
            {trace.data.events.every(({ event }) => event === 'published') && (
              <p class="hint">
                Where it went from there is known of messages that a trace was following: one has to run while the message is on its way. It
                may well have arrived. <a href={placeOf(['traces'])}>Traces</a>
              </p>
            )}
          </>
        )
      )}
    </>
  );
}
