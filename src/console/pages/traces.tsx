/**
 * Traces: recordings of what happens to the messages of a client, a filter or one message, for a limited time.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at, type Page } from '../api.ts';
import { count, time } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field, Form } from '../parts/fields.tsx';
import { attempt } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';
import { Facts } from '../parts/table.tsx';
import { Timeline, type TraceEvent } from '../parts/timeline.tsx';
import { go, type Place, placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

/** Those behind are not drawn: a person does not read them. */
const EVENTS_SHOWN = 500;

interface Trace {
  readonly id: string;
  readonly state: 'running' | 'ended';
  readonly clientId: string | null;
  readonly filter: string | null;
  readonly messageId: string | null;
  readonly sample: number;
  readonly eventCount: number;
  readonly lost: number;
  readonly beginsAt: string;
  readonly endsAt: string;
  readonly by: string;
}

function what({ clientId, filter, messageId, sample }: Trace): string {
  const parts = [
    ...(clientId === null ? [] : [`client ${clientId}`]),
    ...(filter === null ? [] : [filter]),
    ...(messageId === null ? [] : [`message ${messageId}`]),
    ...(sample > 1 ? [`one message in ${sample}`] : []),
  ];
  return parts.join(', ');
}

export function TracesPage({ place }: { readonly place: Place }): VNode {
  const id = place.levels[1];
  if (id !== undefined) return <TracePage key={id} id={id} />;
  return (
    <Records<Trace>
      title="Traces"
      intro={
        <p>
          A trace records what happens to messages while it runs: who published them, which shards they went to, who got and acknowledged
          them, and why one was dropped.
        </p>
      }
      path="/api/v1/traces"
      one="trace"
      many="traces"
      needs="operator"
      canChange={false}
      nameOf={(trace) => trace.id}
      columns={[
        { title: 'ID', cell: (trace) => <a href={placeOf(['traces', trace.id])}>{trace.id}</a>, isLong: true },
        { title: 'Of', cell: what, isLong: true },
        { title: 'State', cell: ({ state }) => <span class="badge">{state}</span> },
        { title: 'Begun', cell: ({ beginsAt }) => time(beginsAt) },
        { title: 'Ends', cell: ({ endsAt }) => time(endsAt) },
        { title: 'Events', cell: ({ eventCount }) => count(eventCount), isNumber: true },
        { title: 'By', cell: ({ by }) => by },
      ]}
      removePath={(trace) => at`/api/v1/traces/${trace.id}`}
      form={(_, done) => <NewTrace done={done} />}
    />
  );
}

function NewTrace({ done }: { readonly done: () => void }): VNode {
  const [by, setBy] = useState('clientId');
  const [value, setValue] = useState('');
  const [seconds, setSeconds] = useState('60');
  const begin = async (): Promise<void> => {
    const body = { [by]: by === 'sample' ? Number(value) : value, seconds: Number(seconds) };
    const isDone = await attempt(
      async () => go(['traces', (await ask<Trace>('POST', '/api/v1/traces', { body })).id]),
      'The trace has begun',
    );
    if (isDone) done();
  };
  return (
    <Form label="New trace" onSubmit={begin}>
      <Choice
        label="Messages"
        value={by}
        options={[
          ['clientId', 'from or to the client'],
          ['filter', 'that match the filter'],
          ['messageId', 'with the ID'],
          ['sample', 'by chance: one in so many'],
        ]}
        onInput={setBy}
      />
      <Field label="Value" value={value} onInput={setValue} required />
      <Field label="For (seconds)" type="number" min={1} max={3600} value={seconds} onInput={setSeconds} required />
      <button type="submit">Begin</button>
    </Form>
  );
}

function TracePage({ id }: { readonly id: string }): VNode {
  const { data, error, reload } = useAsked<Trace>(at`/api/v1/traces/${id}`, {}, 2);
  const [messageId, setMessageId] = useState('');
  const events = useAsked<Page<TraceEvent>>(at`/api/v1/traces/${id}/events`, { limit: EVENTS_SHOWN }, 2);
  const all = events.data?.data ?? [];
  const messages = [...new Set(all.flatMap((one) => (one.messageId ? [one.messageId] : [])))];
  const shown = messageId === '' ? all : all.filter((one) => one.messageId === messageId);
  const end = async (): Promise<void> => {
    if (await attempt(() => ask('POST', at`/api/v1/traces/${id}/end`), 'The trace has ended')) reload();
  };
  return (
    <>
      <p>
        <a href={placeOf(['traces'])}>All traces</a>
      </p>
      <h1 class="long">Trace {id}</h1>
      {error !== null && <Failure error={error} what="this trace" />}
      {data !== null && (
        <>
          <Facts
            facts={[
              ['Of', what(data)],
              ['State', data.state],
              ['Begun', `${time(data.beginsAt)} by ${data.by}`],
              ['Ends', time(data.endsAt)],
              ['Events', count(data.eventCount)],
              ['Events that did not fit', count(data.lost)],
            ]}
          />
          {mayAs('operator') && data.state === 'running' && (
            <p class="actions">
              <button type="button" class="small secondary" onClick={() => void end()}>
                End it now
              </button>
            </p>
          )}
        </>
      )}
      {messages.length > 1 && (
        <Choice
          label="Of the message"
          value={messageId}
          options={[['', 'all'], ...messages.map((one) => [one, one] as const)]}
          onInput={setMessageId}
        />
      )}
      {events.error === null && events.data !== null && <Timeline caption="Events of the trace" events={shown} />}
    </>
  );
}
