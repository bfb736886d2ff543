/**
 * Broker: its log level, its store, its authenticators, and its configuration.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { bytes, count, NONE, time } from '../format.ts';
import { confirmed } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Choice, Field } from '../parts/fields.tsx';
import { Form } from '../parts/form.tsx';
import { attempt, say } from '../parts/notices.tsx';
import { Facts } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';
import { Authenticators } from './authenticators.tsx';
import { Configuration } from './configuration.tsx';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

export function BrokerPage(): VNode {
  return (
    <>
      <h1>Broker</h1>
      <LogLevel />
      <Store />
      <Authenticators />
      <Configuration />
    </>
  );
}

function LogLevel(): VNode {
  const { data, error, reload } = useAsked<{ readonly level: string }>('/api/v1/log-level');
  const change = async (level: string): Promise<void> => {
    await attempt(() => ask('PUT', '/api/v1/log-level', { body: { level } }), `The log level is ${level}`);
    // Where it has failed, the field shows again what holds.
    reload();
  };
  return (
    <section aria-labelledby="log">
      <h2 id="log">Log</h2>
      {error !== null && <Failure error={error} what="changing its log level" />}
      {data !== null &&
        (mayAs('operator') ? (
          <Choice
            label="Level"
            value={data.level}
            options={LEVELS.map((one) => [one, one] as const)}
            onInput={(level) => void change(level)}
          />
        ) : (
          <p>Level: {data.level}</p>
        ))}
    </section>
  );
}

interface StoreFacts {
  readonly isEnabled: boolean;
  readonly path?: string;
  readonly durability?: string;
  /** Where copies go; null: none are made here. */
  readonly backups?: string | null;
  readonly bytes?: number;
  /** Of the pages that hold records. */
  readonly usedBytes?: number;
  readonly records?: number;
  readonly logBytes?: number;
  readonly commits?: number;
  readonly failures?: number;
  readonly isDegraded?: boolean;
  readonly lastCommitAt?: string | null;
  readonly backup?: Backup | null;
  readonly compaction?: Compaction | null;
}

interface Compaction {
  readonly state: string;
  readonly startedAt: string;
  readonly copiedBytes: number;
  readonly of: number;
  readonly bytesBefore: number | null;
  readonly bytesAfter: number | null;
  readonly error: string | null;
}

interface Backup {
  readonly state: string;
  readonly path: string;
  readonly startedAt: string;
  readonly records: number;
  readonly of: number;
  readonly error: string | null;
}

function Store(): VNode {
  const { data, error, reload } = useAsked<StoreFacts>('/api/v1/store', {}, 5);
  const [path, setPath] = useState('');
  const backup = async (): Promise<void> => {
    const made = async (): Promise<void> => {
      const { state, path: to } = await ask<Backup>('POST', '/api/v1/store/backup', { body: path === '' ? {} : { path } });
      say(state === 'done' ? `The store is copied to ${to}` : `The store is being copied to ${to}`);
    };
    if (await attempt(made, '')) setPath('');
    reload();
  };
  const compact = async (): Promise<void> => {
    const text = `Its file is written anew without what is free of it: ${bytes(data?.usedBytes)} of ${bytes(data?.bytes)} are in use. Clients stay connected; acknowledgements wait for a moment at the end.`;
    if (!(await confirmed('Compact the store?', text, 'Compact'))) return;
    const made = async (): Promise<void> => {
      const compaction = await ask<Compaction>('POST', '/api/v1/store/compact', { body: {} });
      say(compaction.state === 'done' ? `The store is compacted: ${compactionText(compaction)}` : 'The store is being compacted');
    };
    await attempt(made, '');
    reload();
  };
  return (
    <section aria-labelledby="store">
      <h2 id="store">Store</h2>
      {error !== null && <Failure error={error} what="facts about its store" />}
      {data !== null && !data.isEnabled && <p class="empty">There is none: nothing outlives the broker.</p>}
      {data?.isEnabled === true && (
        <>
          {data.isDegraded === true && <p class="failure">It takes nothing now.</p>}
          <Facts
            facts={[
              ['Directory', data.path ?? NONE],
              ['Durability', data.durability ?? NONE],
              ['Size', `${bytes(data.bytes)}, of which ${bytes(data.usedBytes)} are in use`],
              ['Records', count(data.records)],
              ['Log', bytes(data.logBytes)],
              ['Commits', `${count(data.commits)}, of which ${count(data.failures)} failed`],
              ['Last commit', time(data.lastCommitAt)],
              ['Last copy', data.backup === null || data.backup === undefined ? NONE : copyText(data.backup)],
              ['Last compaction', data.compaction === null || data.compaction === undefined ? NONE : compactionText(data.compaction)],
            ]}
          />
          {mayAs('admin') && (
            <button type="button" class="secondary" disabled={data.compaction?.state === 'running'} onClick={() => void compact()}>
              Compact
            </button>
          )}
          {mayAs('admin') && data.backups !== null && (
            <Form label="Back up the store" isInline onSubmit={backup}>
              <Field
                label={`New directory below ${data.backups}`}
                value={path}
                onInput={setPath}
                pattern="[A-Za-z0-9][\w.\-]{0,99}"
                hint="Empty: the time."
              />
              <button type="submit">Back up</button>
            </Form>
          )}
          {mayAs('admin') && data.backups === null && (
            <p class="hint">Copies can be made here where the configuration says where they go (store.backups).</p>
          )}
        </>
      )}
    </section>
  );
}

function copyText({ state, path, startedAt, records, of, error }: Backup): string {
  return `${path}, ${time(startedAt)}: ${state}, ${count(records)} of ${count(of)} records${error === null ? '' : `: ${error}`}`;
}

function compactionText({ state, startedAt, copiedBytes, of, bytesBefore, bytesAfter, error }: Compaction): string {
  if (state === 'running') return `${time(startedAt)}: running, ${bytes(copiedBytes)} of ${bytes(of)}`;
  return `${time(startedAt)}: ${error ?? `${bytes(bytesBefore)} before, ${bytes(bytesAfter)} after`}`;
}
