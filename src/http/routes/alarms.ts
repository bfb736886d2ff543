/**
 * Alarms: what is wrong now, what was, and who has seen it. The supervisor keeps them.
 */
import { z } from 'zod';
import { SUPERVISOR } from '../../shard/asks.ts';
import { problem } from '../problem.ts';
import { LATER, type Route, route } from '../route.ts';

const GROUP = 'Alarms';

const alarm = z.object({
  id: z.string(),
  rule: z.string().describe('Name of the rule in `alarms.rules`.'),
  subject: z.string().describe('What it is about, such as a shard or a listener; empty: the whole broker.'),
  state: z.enum(['active', 'cleared']),
  message: z.string(),
  value: z.number().describe('The last one that was measured.'),
  threshold: z.number(),
  unit: z.string(),
  raisedAt: z.iso.datetime(),
  clearedAt: z.iso.datetime().nullable(),
  acknowledgedAt: z.iso.datetime().nullable(),
  acknowledgedBy: z.string().nullable(),
});

export function alarmRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/alarms',
      name: 'getAlarms',
      group: GROUP,
      summary: 'Alarms, the newest first',
      description: 'Those that are raised, and the last thousand that were cleared.',
      role: 'viewer',
      query: z.strictObject({
        state: z.enum(['active', 'cleared']).optional(),
        limit: z.coerce.number().int().min(1).max(1000).default(100),
        cursor: z.string().max(64).optional().describe('`next` of the answer before.'),
      }),
      answers: {
        200: { description: 'The alarms.', schema: z.object({ data: z.array(alarm), next: z.string().nullable(), total: z.int() }) },
      },
      example: { query: { state: 'active' } },
      handle: (call, { query }) => {
        call.shard.asks.ask(
          SUPERVISOR,
          'alarms',
          { state: query.state ?? null, limit: query.limit, cursor: query.cursor ?? null },
          (answer) =>
            call.answer(
              answer === null ? problem('unavailable', 'the supervisor has not answered') : { status: 200, body: answer as object },
            ),
        );
        return LATER;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/alarms/{id}/acknowledge',
      name: 'acknowledgeAlarm',
      group: GROUP,
      summary: 'Says that somebody has seen an alarm',
      description: 'Changes nothing else: the alarm is cleared when its value is good again.',
      role: 'operator',
      problems: ['not-found', 'unavailable'],
      answers: { 200: { description: 'The alarm.', schema: alarm } },
      example: { params: { id: 'mgq1x2-1' } },
      handle: (call, { params }) => {
        const { id } = params as { id: string };
        call.shard.asks.ask(SUPERVISOR, 'acknowledge-alarm', { id, by: call.caller!.name }, (answer) => {
          if (answer === null) call.answer(problem('unavailable', 'the supervisor has not answered'));
          else if (answer === false) call.answer(problem('not-found', `there is no alarm ${id}`));
          else call.answer({ status: 200, body: answer as object });
        });
        return LATER;
      },
    }),
  ];
}
