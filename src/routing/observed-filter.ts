/**
 * Filters of those who observe P2P messages, as the trees of subscriptions hold them: below a first level that no client can write. So `#` finds no P2P message,
 * and an observer no ordinary one.
 */

/** U+0000 stands in no filter of a client [MQTT-1.5.4-2]; below `$` no wildcard of the first level reaches [MQTT-4.7.2-1]. */
export const OBSERVED_LEVEL = '$\u0000';

const PREFIX = `${OBSERVED_LEVEL}/`;

/** The filter as the trees hold it. */
export function observedFilter(filter: string): string {
  return PREFIX.concat(filter);
}

/** The filter as the client wrote it, where it is an observer's; else undefined. */
export function filterOfObserver(filter: string): string | undefined {
  return filter.startsWith(PREFIX) ? filter.substring(PREFIX.length) : undefined;
}
