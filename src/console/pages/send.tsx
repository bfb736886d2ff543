/**
 * Send to a device: one message to one client, and what becomes of it, to its acknowledgement.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, ask, at } from '../api.ts';
import { count } from '../format.ts';
import { Area, Check, Choice, Field, Form, QOS_OPTIONS } from '../parts/fields.tsx';
import type { Place } from '../place.ts';

interface Outcome {
  readonly status: string;
  readonly milliseconds?: number;
}

/** What each outcome means for the device. */
const MEANINGS: Readonly<Record<string, string>> = {
  acknowledged: 'The device has received the message and has acknowledged it.',
  delivered:
    'The device is connected, and the message is on its way to it. Whether it has arrived is not known: ask for the receipt to know.',
  queued: 'The message waits in the session of the device, and goes when the device connects or has acknowledged what is before it.',
  mailbox: 'The device has no session. The message waits in its mailbox until it connects for the first time.',
  'no-session': 'The device has no session here, and no mailbox takes the message. Nothing was kept.',
  offline: 'The device is not connected, and the message was to go only if it is. Nothing was kept.',
  timeout: 'The device has not acknowledged in time. The message stays under its own rules: it may still arrive.',
  'too-large': 'The message is larger than the device or the broker takes.',
  dropped: 'The message was dropped: the queue of the device is full, or its rules take no such message.',
  expired: 'The message has expired before the device took it.',
  'session-ended': 'The session of the device has ended before the device took the message.',
  'not-implemented': 'Messages to single devices are switched off (p2p.enabled).',
  'quota-exceeded': 'A quota or the queue of the device is full. Try again later.',
  forbidden: 'The statements do not let you send this.',
};

/** For failures without a code of their own here. */
const BY_STATUS: Readonly<Record<number, string>> = {
  403: 'forbidden',
  404: 'no-session',
  409: 'offline',
  413: 'too-large',
  429: 'quota-exceeded',
  504: 'timeout',
};

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly begunAt: number }
  | { readonly kind: 'over'; readonly isGood: boolean; readonly status: string; readonly text: string; readonly milliseconds: number };

export function SendPage({ place }: { readonly place: Place }): VNode {
  const [clientId, setClientId] = useState(place.query.get('clientId') ?? '');
  const [topic, setTopic] = useState('');
  const [text, setText] = useState('');
  const [qos, setQos] = useState('1');
  const [isConfirmed, setConfirmed] = useState(true);
  const [isIfOnline, setIfOnline] = useState(false);
  const [timeout, setTimeoutSeconds] = useState('10');
  const [state, setState] = useState<State>({ kind: 'idle' });
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);

  const send = async (): Promise<void> => {
    abort.current = new AbortController();
    const begunAt = performance.now();
    setState({ kind: 'waiting', begunAt });
    const over = (isGood: boolean, status: string, said: string, milliseconds?: number): void =>
      setState({ kind: 'over', isGood, status, text: said, milliseconds: milliseconds ?? Math.round(performance.now() - begunAt) });
    try {
      const outcome = await ask<Outcome>('POST', at`/v1/clients/${clientId}/messages`, {
        query: {
          topic,
          qos,
          confirm: isConfirmed || undefined,
          timeout: isConfirmed ? timeout : undefined,
          ifOnline: isIfOnline || undefined,
        },
        body: text,
        headers: {
          'Content-Type': 'text/plain; charset=utf-8',
          'Idempotency-Key': crypto.randomUUID?.() ?? String(Math.random()).slice(2),
        },
        signal: abort.current.signal,
      });
      over(true, outcome.status, MEANINGS[outcome.status] ?? '', outcome.milliseconds);
    } catch (error) {
      if (!(error instanceof ApiError)) {
        setState({ kind: 'idle' });
        return;
      }
      const meaning = MEANINGS[error.code] ?? MEANINGS[BY_STATUS[error.status] ?? ''] ?? '';
      over(false, error.code === '' ? String(error.status) : error.code, `${meaning} The broker says: ${error.message}`);
    }
  };

  return (
    <>
      <h1>Send to a device</h1>
      <p>One message to one client, whatever it has subscribed to.</p>
      <Form label="Send to a device" onSubmit={send}>
        <div class="grid">
          <Field label="Client ID" value={clientId} onInput={setClientId} required isSearch />
          <Field
            label="Topic"
            value={topic}
            onInput={setTopic}
            placeholder={`{first}/p2p/${clientId || '{client ID}'}`}
            hint="That the device sees. Empty: its own address."
          />
        </div>
        <Area label="Message" value={text} onInput={setText} isCode />
        <div class="grid">
          <Choice label="QoS" value={qos} options={QOS_OPTIONS} onInput={setQos} />
          <Field label="Wait for at most (seconds)" type="number" min={1} max={600} value={timeout} onInput={setTimeoutSeconds} />
        </div>
        <Check label="Wait for the receipt of the device" isChecked={isConfirmed} onInput={setConfirmed} />
        <Check label="Only if it is connected" isChecked={isIfOnline} onInput={setIfOnline} />
        <p class="actions">
          <button type="submit" disabled={state.kind === 'waiting'}>
            Send
          </button>
          {state.kind === 'waiting' && (
            <button type="button" class="secondary" onClick={() => abort.current?.abort()}>
              Do not wait
            </button>
          )}
        </p>
      </Form>
      <Result state={state} clientId={clientId} />
    </>
  );
}

function Result({ state, clientId }: { readonly state: State; readonly clientId: string }): VNode {
  return (
    <section class="outcome" role="status" aria-live="polite">
      {state.kind === 'waiting' && (
        <p aria-busy="true">
          Waiting for {clientId}… <Elapsed begunAt={state.begunAt} />
        </p>
      )}
      {state.kind === 'over' && (
        <article class={state.isGood ? 'good' : 'bad'}>
          <p>
            <strong>{state.status}</strong> after {count(state.milliseconds)} ms
          </p>
          <p>{state.text}</p>
        </article>
      )}
    </section>
  );
}

/** Runs for the eye; a screen reader hears the end only. */
function Elapsed({ begunAt }: { readonly begunAt: number }): VNode {
  const [now, setNow] = useState(begunAt);
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 100);
    return () => clearInterval(timer);
  }, []);
  return <span aria-hidden="true">{((now - begunAt) / 1000).toFixed(1)} s</span>;
}
