/*
 * Client Identifiers by shard: where a client lives is a pure function of its identifier, so a test chooses the shard by choosing the identifier.
 * No two calls give the same identifier in one process.
 */
import { utf8Bytes } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { shardOfSlot, slotOf } from '../../src/routing/slot.ts';

let calls = 0;

/** The shard, 0 … `shards` - 1, that owns a client with this identifier. */
export function shardOfClientId(clientId: string, shards: number): number {
  const bytes = utf8Bytes(clientId);
  return shardOfSlot(slotOf(hash32(bytes, 0, bytes.length)), shards);
}

/** A fresh Client Identifier that is owned by `shard` of `shards`: `prefix`, then `-`, letters and digits, then `suffix`. */
export function clientIdOn(shard: number, shards: number, prefix = 'client', suffix = ''): string {
  for (;;) {
    const clientId = `${prefix}-${(calls++).toString(36)}${suffix}`;
    if (shardOfClientId(clientId, shards) === shard) return clientId;
  }
}
