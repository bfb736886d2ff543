/**
 * Alarms: what is wrong now, and what was.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { short, time } from '../format.ts';
import { Choice } from '../parts/fields.tsx';
import { List } from '../parts/list.tsx';
import { attempt } from '../parts/notices.tsx';
import { mayAs } from '../session.ts';

interface Alarm {
  readonly id: string;
  readonly rule: string;
  /** A shard, a listener; empty: the whole broker. */
  readonly subject: string;
  readonly state: 'active' | 'cleared';
  readonly message: string;
  readonly value: number;
  readonly threshold: number;
  readonly unit: string;
  readonly raisedAt: string;
  readonly clearedAt: string | null;
  readonly acknowledgedAt: string | null;
  readonly acknowledgedBy: string | null;
}

export function AlarmsPage(): VNode {
  const [state, setState] = useState('active');
  const [changes, setChanges] = useState(0);
  const acknowledge = async (id: string): Promise<void> => {
    if (await attempt(() => ask('POST', at`/api/v1/alarms/${id}/acknowledge`), 'Acknowledged')) setChanges(changes + 1);
  };
  return (
    <>
      <div class="heading">
        <h1>Alarms</h1>
        <Choice
          label="Show"
          value={state}
          options={[
            ['active', 'active ones'],
            ['cleared', 'those that are over'],
            ['', 'all'],
          ]}
          onInput={setState}
        />
      </div>
      <List<Alarm>
        path="/api/v1/alarms"
        query={{ state }}
        what="alarms"
        caption="Alarms"
        empty={state === 'active' ? 'Nothing is wrong.' : 'There was none.'}
        rowKey={({ id }) => id}
        everySeconds={5}
        changes={changes}
        columns={[
          { title: 'Alarm', cell: (one) => [one.rule, one.subject].filter(Boolean).join(': ') },
          { title: 'State', cell: (one) => <span class={`badge ${one.state}`}>{one.state}</span> },
          { title: 'What', cell: ({ message }) => message, isLong: true },
          { title: 'Value', cell: (one) => `${short(one.value)} ${one.unit} (from ${short(one.threshold)} ${one.unit})` },
          { title: 'Since', cell: (one) => time(one.raisedAt) },
          { title: 'Over', cell: (one) => time(one.clearedAt) },
          {
            title: 'Acknowledged',
            cell: (one) =>
              one.acknowledgedAt ? (
                `${time(one.acknowledgedAt)} ${one.acknowledgedBy ?? ''}`
              ) : mayAs('operator') && one.state !== 'cleared' ? (
                <button type="button" class="small outline" aria-label={`Acknowledge ${one.rule}`} onClick={() => void acknowledge(one.id)}>
                  Acknowledge
                </button>
              ) : (
                'no'
              ),
          },
        ]}
      />
    </>
  );
}
