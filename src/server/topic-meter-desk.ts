/**
 * TopicMeterDesk: which topic prefixes are measured, for all shards. Kept in memory: it begins empty with the process, and outlives the shards.
 */
import { METER_LIST, type MeterAsk, type MeterReply } from '../http/management/meter-answers.ts';
import { type MeteredPrefix, TOPIC_METERS_MAX } from '../shard/topic-meters.ts';
import type { AskDesk } from './ask-desk.ts';

/** Answers what shards ask about the list. */
export function keepTopicMeters(desk: AskDesk): void {
  let prefixes: readonly MeteredPrefix[] = [];
  let version = 1;
  desk.handle(METER_LIST, ({ begin, end }: MeterAsk): MeterReply => {
    let refused: MeterReply['refused'] = null;
    const has = (prefix: string): boolean => prefixes.some((one) => one.prefix === prefix);
    if (begin !== undefined && !has(begin)) {
      if (prefixes.length >= TOPIC_METERS_MAX) refused = 'full';
      else {
        prefixes = [...prefixes, { prefix: begin, since: Date.now() }];
        version++;
      }
    }
    if (end !== undefined) {
      if (!has(end)) refused = 'missing';
      else {
        prefixes = prefixes.filter(({ prefix }) => prefix !== end);
        version++;
      }
    }
    return { prefixes, version, refused };
  });
}
