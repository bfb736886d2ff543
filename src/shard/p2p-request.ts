/**
 * What a P2P message asks the broker for, by User Properties whose keys begin with `p2p-`.
 *
 * Hot path.
 */
import { equalBytes, utf8Bytes } from '../base/bytes.ts';
import type { UserPropertyReader } from '../protocol/property.ts';

/** How they begin; none of them travels on. */
export const RESERVED_PREFIX: Uint8Array = utf8Bytes('p2p-');
const TARGET_KEY = utf8Bytes('p2p-target');
const REPORT_KEY = utf8Bytes('p2p-report');
const RECEIPT_KEY = utf8Bytes('p2p-receipt');
const ONE = 0x31;

/** Whether the property names a target. */
export function isTargetKey(bytes: Uint8Array, { keyAt, keyEnd }: UserPropertyReader): boolean {
  return equalBytes(bytes, keyAt, keyEnd, TARGET_KEY, 0, TARGET_KEY.length);
}

/** Whether it is `p2p-report: 1`. */
export function isReportKey(bytes: Uint8Array, property: UserPropertyReader): boolean {
  return isOne(bytes, property) && equalBytes(bytes, property.keyAt, property.keyEnd, REPORT_KEY, 0, REPORT_KEY.length);
}

/** Whether it is `p2p-receipt: 1`. */
export function isReceiptKey(bytes: Uint8Array, property: UserPropertyReader): boolean {
  return isOne(bytes, property) && equalBytes(bytes, property.keyAt, property.keyEnd, RECEIPT_KEY, 0, RECEIPT_KEY.length);
}

function isOne(bytes: Uint8Array, { valueAt, valueEnd }: UserPropertyReader): boolean {
  return valueEnd === valueAt + 1 && bytes[valueAt] === ONE;
}
