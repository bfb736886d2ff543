/**
 * Device: what the registry knows of one device, which connects under its own Client Identifier and proves itself by a secret that no other device has.
 */
export interface Device {
  /** Its Client Identifier. */
  readonly deviceId: string;
  /** False: as if it were not there. */
  readonly isEnabled: boolean;
  /** Base64; '': none. Either key counts, so that one can be replaced while the other is in use. */
  readonly primaryKey: string;
  readonly secondaryKey: string;
  /** User Properties that each of its messages carries beside its own. */
  readonly propagatingProperties: readonly { readonly key: string; readonly value: string }[];
  /** What is known of the device, for the rules about what it may do. */
  readonly attributes: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly createdAt: string;
}
