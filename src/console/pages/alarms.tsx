/**
 * Alarms: what is wrong now, and what was.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { short, time } from '../format.ts';
import { Choice } from '../parts/fields.tsx';
import { List } from '../parts/list.tsx';
import { attempt } from '../parts/notices.tsx';
import { mayAs } from '../session.ts';
import { useSearch } from '../use-search.ts';
import { ALARMS_PATH, type Alarm, alarmName } from './alarm-facts.ts';

/** What the address says for all of them. */
const ALL = 'all';

export function AlarmsPage(): VNode {
  const state = useSearch('state', 'active');
  const [changes, setChanges] = useState(0);
  const acknowledge = async (id: string): Promise<void> => {
    if (await attempt(() => ask('POST', `${ALARMS_PATH}/${encodeURIComponent(id)}/acknowledge`), 'Acknowledged')) setChanges(changes + 1);
  };
  return (
    <>
      <div class="heading">
        <h1>Alarms</h1>
        <Choice
          label="Show"
          value={state.value}
          options={[
            ['active', 'active ones'],
            ['cleared', 'those that are over'],
            [ALL, 'all'],
          ]}
          onInput={state.set}
        />
      </div>
      <List<Alarm>
        path={ALARMS_PATH}
        query={{ state: state.settled === ALL ? '' : state.settled }}
        what="alarms"
        caption="Alarms"
        empty={state.settled === 'active' ? 'Nothing is wrong.' : 'There was none.'}
        rowKey={({ id }) => id}
        everySeconds={5}
        changes={changes}
        isInAddress
        columns={[
          { title: 'Alarm', cell: alarmName },
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
                <button
                  type="button"
                  class="small outline"
                  aria-label={`Acknowledge ${alarmName(one)}`}
                  onClick={() => void acknowledge(one.id)}
                >
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
