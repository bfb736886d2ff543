/**
 * Send to a device: one message to one client, and what becomes of it, to its acknowledgement.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, ask, at, type Page } from '../api.ts';
import { count, time } from '../format.ts';
import { Area, Check, Choice, Field, QOS_OPTIONS } from '../parts/fields.tsx';
import { Form, useTried } from '../parts/form.tsx';
import { Table } from '../parts/table.tsx';
import { placeOf } from '../place.ts';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';
import { type SearchField, useSearch } from '../use-search.ts';
import type { ClientFacts } from './client-facts.ts';
import { badOutcome, goodOutcome, NOT_WAITED, type Outcome } from './send-outcomes.ts';

const SUGGESTIONS = 10;
/** Sent from this page and shown; the history has the rest. */
const SENT_MAX = 20;

const FORMATS = [
  ['text', 'text'],
  ['json', 'JSON, checked before it is sent'],
  ['hex', 'bytes, in hexadecimal'],
] as const;

interface Sent extends Outcome {
  readonly clientId: string;
  readonly at: number;
  readonly milliseconds: number;
}

/** Bytes of a message; a text says what is wrong with it. */
function bodyOf(format: string, text: string): { readonly body: string | Uint8Array; readonly type: string } | string {
  if (format === 'hex') {
    const digits = text.replace(/\s+/g, '');
    if (!/^(?:[0-9a-f]{2})*$/i.test(digits)) return 'Bytes are two hexadecimal digits each, such as 01 ff.';
    const pairs = digits.match(/../g) ?? [];
    return { body: Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16)), type: 'application/octet-stream' };
  }
  if (format === 'json') {
    try {
      JSON.parse(text);
    } catch (error) {
      return `This is no JSON: ${(error as Error).message}`;
    }
    return { body: text, type: 'application/json' };
  }
  return { body: text, type: 'text/plain; charset=utf-8' };
}

export function SendPage(): VNode {
  const clientId = useSearch('clientId');
  const [topic, setTopic] = useState('');
  const [format, setFormat] = useState('text');
  const [text, setText] = useState('');
  const [qos, setQos] = useState('1');
  const [isConfirmed, setConfirmed] = useState(true);
  const [isIfOnline, setIfOnline] = useState(false);
  const [timeout, setTimeoutSeconds] = useState('10');
  const [expiry, setExpiry] = useState('');
  const [waiting, setWaiting] = useState<{ readonly clientId: string; readonly begunAt: number } | null>(null);
  const [sent, setSent] = useState<readonly Sent[]>([]);
  const tried = useTried(['message']);
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);
  const outcome = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a phone it is below what is seen.
    if (waiting !== null || sent.length > 0) outcome.current?.scrollIntoView({ block: 'nearest' });
  }, [waiting, sent]);
  // A receipt is the acknowledgement of the device, and QoS 0 has none.
  const waits = isConfirmed && qos !== '0';

  const send = async (): Promise<void> => {
    if (waiting !== null) return;
    const message = bodyOf(format, text);
    if (typeof message === 'string') {
      tried.fail(message, 'message');
      return;
    }
    tried.fail('');
    const to = clientId.value;
    const begunAt = performance.now();
    const wallTime = Date.now();
    const over = (outcome: Outcome, milliseconds: number = Math.round(performance.now() - begunAt)): void => {
      setWaiting(null);
      setSent((before) => [{ ...outcome, clientId: to, at: wallTime, milliseconds }, ...before].slice(0, SENT_MAX));
    };
    abort.current = new AbortController();
    const { signal } = abort.current;
    setWaiting({ clientId: to, begunAt });
    try {
      const { status, milliseconds } = await ask<{ readonly status: string; readonly milliseconds?: number }>(
        'POST',
        at`/v1/clients/${to}/messages`,
        {
          query: {
            topic,
            qos,
            expiry,
            confirm: waits || undefined,
            timeout: waits ? timeout : undefined,
            ifOnline: isIfOnline || undefined,
          },
          body: message.body,
          // Browsers repeat a request whose connection was closed meanwhile; the message is sent once.
          headers: { 'Content-Type': message.type, 'Idempotency-Key': crypto.randomUUID?.() ?? String(Math.random()).slice(2) },
          signal,
        },
      );
      over(goodOutcome(status), milliseconds);
    } catch (error) {
      over(error instanceof ApiError ? badOutcome(error) : NOT_WAITED);
    }
  };

  const onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && waiting !== null) abort.current?.abort();
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    // As the button: what the browser has against a field is said.
    (event.currentTarget as HTMLElement).querySelector('form')?.requestSubmit();
  };

  return (
    <>
      <h1>Send to a device</h1>
      <p>One message to one client, whatever it has subscribed to. Below it stands what became of it.</p>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: keys of the form in it. */}
      <div onKeyDown={onKey}>
        <Form label="Send to a device" onSubmit={send}>
          <div class="grid">
            <ClientField search={clientId} />
            <Field
              label="Topic"
              value={topic}
              onInput={setTopic}
              placeholder={`{first}/p2p/${clientId.value || '{client ID}'}`}
              hint="That the device sees. Empty: its own address."
            />
            <Choice label="QoS" value={qos} options={QOS_OPTIONS} onInput={setQos} />
          </div>
          <Area
            label="Message"
            value={text}
            onInput={setText}
            rows={3}
            isCode
            hint={
              <>
                <kbd>Ctrl</kbd> <kbd>Enter</kbd> sends it.
              </>
            }
            fault={tried.faultOf('message')}
          />
          <div class="grid">
            <Choice label="Written as" value={format} options={FORMATS} onInput={setFormat} />
            <Field
              label="Expires after (seconds)"
              type="number"
              min={1}
              max={0xffffffff}
              value={expiry}
              onInput={setExpiry}
              hint="Dropped if it still waits then. Empty: as long as the broker keeps it."
            />
            <Field
              label="Wait for at most (seconds)"
              type="number"
              min={1}
              max={600}
              required
              disabled={!waits}
              value={timeout}
              onInput={setTimeoutSeconds}
            />
          </div>
          <div class="together">
            <Check
              label={qos === '0' ? 'Wait for the receipt of the device (with QoS 0 there is none)' : 'Wait for the receipt of the device'}
              isChecked={waits}
              disabled={qos === '0'}
              onInput={setConfirmed}
            />
            <Check label="Only if it is connected" isChecked={isIfOnline} onInput={setIfOnline} />
          </div>
          <p class="actions">
            {/* It keeps the focus while it cannot be pressed. */}
            <button type="submit" aria-disabled={waiting !== null}>
              Send
            </button>
            {waiting !== null && (
              <button type="button" class="secondary" onClick={() => abort.current?.abort()}>
                Do not wait
              </button>
            )}
          </p>
        </Form>
        <section ref={outcome} class="outcome" role="status" aria-live="polite" aria-label="Outcome">
          {waiting !== null && (
            <p aria-busy="true">
              Waiting for <bdi>{waiting.clientId}</bdi>… <Elapsed begunAt={waiting.begunAt} />
            </p>
          )}
          {waiting === null && sent[0] !== undefined && <Result sent={sent[0]} />}
        </section>
      </div>
      {sent.length > 1 && <SentBefore sent={sent} />}
    </>
  );
}

/** Whoever may see clients is offered those that begin with what is typed. */
function ClientField({ search: { value, settled: prefix, set } }: { readonly search: SearchField }): VNode {
  const isOffered = mayAs('viewer');
  const { data } = useAsked<Page<ClientFacts>>(isOffered ? '/api/v1/clients' : null, { prefix, limit: SUGGESTIONS });
  return (
    <Field label="Client ID" value={value} onInput={set} required isSearch suggestions={data?.data.map(({ clientId }) => clientId) ?? []} />
  );
}

function Result({ sent: { clientId, isGood, title, text, detail, milliseconds, at: wallTime } }: { readonly sent: Sent }): VNode {
  return (
    <article class={isGood ? 'good' : 'bad'}>
      <p>
        <strong>{title}</strong> after {count(milliseconds)} ms
      </p>
      <p>{text}</p>
      {detail !== '' && <p class="hint">The broker says: {detail}.</p>}
      <p class="hint">
        To <bdi>{clientId}</bdi>, {time(wallTime)}.
        {mayAs('viewer') && (
          <>
            {' '}
            <a href={placeOf(['clients', clientId])}>The client</a>,{' '}
            <a href={placeOf(['messages'], { target: clientId })}>messages to it</a>
          </>
        )}
      </p>
    </article>
  );
}

function SentBefore({ sent }: { readonly sent: readonly Sent[] }): VNode {
  return (
    <section aria-labelledby="sent">
      <h2 id="sent">Sent from here</h2>
      <Table<Sent>
        caption="Sent from here"
        rows={sent}
        rowKey={({ at: wallTime }, index) => `${wallTime} ${sent.length - index}`}
        empty=""
        columns={[
          { title: 'Time', cell: ({ at: wallTime }) => time(wallTime) },
          { title: 'Client ID', cell: ({ clientId }) => clientId, isLong: true },
          { title: 'Outcome', cell: ({ isGood, title }) => <span class={`badge ${isGood ? 'allow' : 'deny'}`}>{title}</span> },
          { title: 'After', cell: ({ milliseconds }) => `${count(milliseconds)} ms`, isNumber: true },
        ]}
      />
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
