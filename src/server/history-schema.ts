/**
 * The keys of the message history: what is kept of the messages that pass, and how much of it.
 */
import type { z } from 'zod';
import type { HistorySettings } from '../base/settings.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { filterError } from '../protocol/topic.ts';
import { key, section } from './config-key.ts';
import { duration, flag, show, size, text, textList } from './config-value.ts';

const FILTERS_MAX = 100;
const LEVELS_MAX = 128;

function checkPath(value: string): string | undefined {
  return value === '' || value.includes('\0') ? `expected a directory such as ./onehop-history, not ${show(value)}` : undefined;
}

function checkFilter(value: string): string | undefined {
  if (value.startsWith('$share/')) return `expected a filter without $share, not ${show(value)}`;
  return filterError(value, LEVELS_MAX) === ReasonCode.Success ? undefined : `expected a Topic Filter, not ${show(value)}`;
}

/** What the file says about it, checked. */
export interface HistoryFile extends Pick<HistorySettings, 'enabled' | 'path' | 'filters' | 'messageId'> {
  readonly retention: number;
  readonly maxBytes: number;
  readonly maxPayload: number;
  readonly buffer: number;
}

const keys: {
  readonly [K in keyof HistoryFile]: z.ZodType<HistoryFile[K], unknown>;
} = {
  enabled: key(
    flag(),
    false,
    'Whether messages are kept for people to look at: who published what and when. Off the path of the messages; a crash may lose the last second. See [history.md](history.md).',
  ),
  path: key(
    text(checkPath),
    './onehop-history',
    'Directory of the history; made when it is not there. A relative path starts at the configuration file, or without one at the working directory.',
  ),
  retention: key(duration({ unit: 'seconds', min: 1, max: 3_153_600_000 }), '3d', 'How long a message is kept.'),
  maxBytes: key(size(1_048_576, Number.MAX_SAFE_INTEGER), '10GiB', 'Bytes on disk; beyond them the oldest messages go.'),
  filters: key(
    textList(checkFilter, "Topic Filters such as ['devices/#']", FILTERS_MAX),
    "['#']",
    'Topic Filters: a message is kept when one matches the topic that it was published to. A topic that begins with `$` is matched only by a filter that does.',
    ['#'],
  ),
  messageId: key(
    flag(),
    false,
    'Whether receivers with MQTT 5 are told the ID of each message that is kept, in the User Property `message-id`: 58 bytes more.',
  ),
  maxPayload: key(size(0, 268_435_460), '64KiB', 'Bytes of one payload that are kept; the rest of a longer one is left out.'),
  buffer: key(
    size(65_536, 1_073_741_824, true),
    '8MiB',
    'Memory of each shard for messages on their way to the disk. What finds it full is not kept, and counted in `history/dropped`.',
  ),
};

export const history: z.ZodPrefault<z.ZodObject<typeof keys, z.core.$strict>> = section(keys);

/** In the names and units of `Settings`. */
export function historySettings({ retention, maxBytes, maxPayload, buffer, ...same }: HistoryFile): HistorySettings {
  return { ...same, retentionSeconds: retention, bytesMax: maxBytes, payloadBytes: maxPayload, bufferBytes: buffer };
}
