/**
 * Traces: recordings of what happens to the messages of a client, a filter or one message, for a limited time.
 */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ask, at, type Page } from '../api.ts';
import { count, time } from '../format.ts';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { attempt, say } from '../parts/notices.tsx';
import { Paging, usePages } from '../parts/paging.tsx';
import { Records } from '../parts/records.tsx';
import { Facts } from '../parts/table.tsx';
import { Timeline, type TraceEvent } from '../parts/timeline.tsx';
import { go, type Place, placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

/** Events of one page: as many as a person looks through. */
const PAGE_EVENTS = 100;
/** Name of the message in the address. */
const MESSAGE = 'messageId';

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
  return parts.join(', ') || 'every message';
}

export function TracesPage({ place }: { readonly place: Place }): VNode {
  const id = place.levels[1];
  if (id !== undefined) return <TracePage key={id} id={id} place={place} />;
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
      isWhole
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
      everySeconds={5}
      removal={{
        path: (trace) => at`/api/v1/traces/${trace.id}`,
        text: () => 'What it has seen is gone then.',
        done: (trace) => `The trace ${trace.id} is removed`,
      }}
      form={(_, done) => <NewTrace done={done} />}
    />
  );
}

/** What a trace may follow: its name in the API, the field for it, and an example. */
const SUBJECTS: Readonly<Record<string, readonly [text: string, label: string, placeholder: string]>> = {
  clientId: ['from or to the client', 'Client ID', 'pump-1'],
  filter: ['that match the filter', 'Filter', 'fleet/+/state'],
  messageId: ['with the ID', 'Message ID', '32 hexadecimal digits'],
  sample: ['by chance: one in so many', 'One in', '100'],
};

function NewTrace({ done }: { readonly done: () => void }): VNode {
  const [by, setBy] = useState('clientId');
  const [value, setValue] = useState('');
  const [seconds, setSeconds] = useState('60');
  const tried = useTried([by, 'seconds']);
  const [, label, placeholder] = SUBJECTS[by]!;
  const begin = async (): Promise<void> => {
    const body = { [by]: by === 'sample' ? Number(value) : value.trim(), seconds: Number(seconds) };
    let id = '';
    const begun = async (): Promise<void> => {
      id = (await ask<Trace>('POST', '/api/v1/traces', { body })).id;
    };
    if (!(await tried.attempt(begun))) return;
    say('The trace has begun');
    done();
    go(['traces', id]);
  };
  return (
    <Form label="New trace" onSubmit={begin}>
      <Choice
        label="Messages"
        value={by}
        options={Object.entries(SUBJECTS).map(([name, [text]]) => [name, text] as const)}
        onInput={(one) => {
          setBy(one);
          setValue('');
        }}
      />
      <Field
        key={by}
        label={label}
        type={by === 'sample' ? 'number' : 'text'}
        value={value}
        onInput={setValue}
        required
        placeholder={placeholder}
        fault={tried.faultOf(by)}
      />
      <Field
        label="For (seconds)"
        type="number"
        min={1}
        max={3600}
        value={seconds}
        onInput={setSeconds}
        required
        fault={tried.faultOf('seconds')}
      />
      <FormEnd tried={tried} action="Begin" />
    </Form>
  );
}

const RUNNING_SECONDS = 2;

function TracePage({ id, place }: { readonly id: string; readonly place: Place }): VNode {
  const [state, setState] = useState('running');
  // What has ended does not change any more.
  const everySeconds = state === 'running' ? RUNNING_SECONDS : 0;
  const { data, error, reload } = useAsked<Trace>(at`/api/v1/traces/${id}`, {}, everySeconds);
  useEffect(() => {
    if (data !== null) setState(data.state);
    else if (error?.status === 404) setState('ended');
  }, [data?.state, error?.status]);
  const messageId = place.query.get(MESSAGE) ?? '';
  const pages = usePages(messageId, true);
  const query = { messageId, limit: PAGE_EVENTS, cursor: pages.cursor };
  const events = useAsked<Page<TraceEvent>>(at`/api/v1/traces/${id}/events`, query, everySeconds);
  const shown = events.data?.data ?? [];
  const messages = [...new Set([...(messageId === '' ? [] : [messageId]), ...shown.flatMap((one) => one.messageId ?? [])])];
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
              [data.state === 'running' ? 'Ends' : 'Ended', time(data.endsAt)],
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
      {(messages.length > 1 || messageId !== '') && (
        <Choice
          label="Of the message"
          value={messageId}
          options={[['', 'all'], ...messages.map((one) => [one, one] as const)]}
          onInput={(one) => go(place.levels, { [MESSAGE]: one })}
          hint={messageId === '' && events.data?.next ? 'Those of this page.' : undefined}
        />
      )}
      {events.error !== null && error === null && <Failure error={events.error} what="events of this trace" />}
      {events.data !== null && (
        <>
          <Timeline caption="Events of the trace" events={shown} />
          <Paging caption="Events of the trace" pages={pages} next={events.data.next ?? null} total={events.data.total} />
        </>
      )}
    </>
  );
}
