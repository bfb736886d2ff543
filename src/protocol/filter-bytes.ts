/**
 * Matching a Topic Filter with a Topic Name where both are UTF-8 bytes, for those who see every message and must not make a string of each.
 *
 * Hot path.
 */
const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** As `filterMatches`, over bytes. @param filter a valid one, without `$share/…/` */
export function filterMatchesBytes(filter: Uint8Array, topic: Uint8Array, topicAt: number, topicEnd: number): boolean {
  const filterEnd = filter.length;
  if (topicAt < topicEnd && topic[topicAt] === DOLLAR && (filter[0] === PLUS || filter[0] === HASH)) return false; // [MQTT-4.7.2-1]
  let at = 0;
  let from = topicAt;
  // Both offsets stand at the beginning of a level.
  for (;;) {
    const byte = at < filterEnd ? filter[at]! : SLASH;
    if (byte === HASH) return true;
    if (byte === PLUS) {
      at++;
      while (from < topicEnd && topic[from] !== SLASH) from++;
    } else {
      while (at < filterEnd && from < topicEnd) {
        const one = filter[at]!;
        if (one !== topic[from]) return false;
        if (one === SLASH) break;
        at++;
        from++;
      }
    }
    const isFilterDone = at === filterEnd;
    if (!isFilterDone && filter[at] !== SLASH) return false;
    if (from === topicEnd) return isFilterDone || (at + 2 === filterEnd && filter[at + 1] === HASH); // [MQTT-4.7.1-1]
    if (isFilterDone || topic[from] !== SLASH) return false;
    at++;
    from++;
  }
}
