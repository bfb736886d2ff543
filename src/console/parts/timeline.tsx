/**
 * Timeline: what happened to one message, drawn from the top down: the longer the line between two points, the longer it took. The same stands in the table below it.
 */
import type { VNode } from 'preact';
import { NONE, time } from '../format.ts';
import { placeOf } from '../place.ts';
import { Table } from './table.tsx';

export interface TraceEvent {
  readonly at: string;
  /** Since the first event. */
  readonly microseconds?: number;
  readonly event: string;
  readonly shard?: number;
  readonly clientId?: string | null;
  readonly reason?: string | null;
  readonly shards?: readonly number[];
  readonly messageId?: string | null;
  readonly topic?: string;
}

const LINE_X = 104;
const LABEL_X = LINE_X + 18;
const LABEL_HEIGHT = 22;
const STEP = 34;
/** A pause of tenfold length is so much longer a line. */
const STEP_PER_DECADE = 12;
const RADIUS = 6;
/** Longer timelines are drawn as far as this; the table has the rest. */
const DRAWN_MAX = 200;

function milliseconds({ at, microseconds }: TraceEvent): number {
  return microseconds === undefined ? Date.parse(at) : microseconds / 1000;
}

function offset(value: number): string {
  if (value < 1000) return `+${value.toFixed(value < 10 && value > 0 ? 1 : 0)} ms`;
  return `+${(value / 1000).toFixed(2)} s`;
}

function who({ shard, clientId, reason, shards }: TraceEvent): string {
  return [
    clientId ?? '',
    shard === undefined ? '' : `shard ${shard}`,
    shards === undefined ? '' : shards.length === 0 ? 'to nobody' : `to ${shards.map((one) => `shard ${one}`).join(', ')}`,
    reason ?? '',
  ]
    .filter((text) => text !== '')
    .join(' · ');
}

export function Timeline({ events, caption }: { readonly events: readonly TraceEvent[]; readonly caption: string }): VNode {
  const drawn = events.slice(0, DRAWN_MAX);
  const begun = drawn.length === 0 ? 0 : milliseconds(drawn[0]!);
  // Microseconds count from the first event of all, which may stand on a page before this one.
  const first = drawn[0]?.microseconds === undefined ? begun : 0;
  let y = STEP / 2;
  let before = begun;
  const points = drawn.map((event) => {
    const now = milliseconds(event);
    if (event !== drawn[0]) y += STEP + STEP_PER_DECADE * Math.log10(1 + Math.max(0, now - before));
    before = now;
    return { event, y, offset: offset(Math.max(0, now - first)) };
  });
  const height = y + STEP / 2;
  return (
    <>
      {drawn.length > 0 && (
        <svg class="timeline" height={height} role="img" aria-label={`${caption}: ${events.length} events, in the table below`}>
          <line class="way" x1={LINE_X} x2={LINE_X} y1={points[0]!.y} y2={y} />
          {points.map((point, index) => (
            <g key={index} class={`event ${point.event.event}`}>
              <text x={LINE_X - 16} y={point.y + 5} text-anchor="end" class="offset">
                {point.offset}
              </text>
              <circle cx={LINE_X} cy={point.y} r={RADIUS} />
              {/* A text of its own could not be shortened, and a long name would leave the picture. */}
              <foreignObject class="label" x={LABEL_X} y={point.y - LABEL_HEIGHT / 2} height={LABEL_HEIGHT}>
                <p title={who(point.event)}>
                  <span class="name">{point.event.event}</span> {who(point.event)}
                </p>
              </foreignObject>
            </g>
          ))}
        </svg>
      )}
      <Table<TraceEvent>
        caption={caption}
        rows={events}
        rowKey={(_, index) => String(index)}
        empty="Nothing has happened yet."
        columns={[
          { title: 'Time', cell: ({ at }) => <span title={at}>{time(at)}</span> },
          { title: 'After', cell: (event) => offset(Math.max(0, milliseconds(event) - first)), isNumber: true },
          { title: 'Event', cell: ({ event }) => event },
          { title: 'Shard', cell: ({ shard }) => shard ?? NONE, isNumber: true },
          { title: 'Client', cell: ({ clientId }) => clientId ?? NONE, isLong: true },
          {
            title: 'Message',
            cell: ({ messageId }) => (messageId ? <a href={placeOf(['messages', messageId])}>{messageId.slice(0, 12)}…</a> : NONE),
          },
          { title: 'Topic', cell: ({ topic }) => <code>{topic}</code>, isLong: true },
          { title: 'Reason', cell: ({ reason }) => reason ?? NONE },
        ]}
      />
    </>
  );
}
