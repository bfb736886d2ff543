/**
 * StoreError: why a store cannot be used. Its message is the one clear line that a person sees.
 */

/** `damaged`: what is there is not what was written. */
export type StoreErrorKind = 'damaged' | 'version' | 'permission' | 'in-use' | 'absent' | 'disk';

export class StoreError extends Error {
  readonly kind: StoreErrorKind;
  /** Number of the record that is damaged; 0: none in particular. */
  readonly record: number;

  constructor(kind: StoreErrorKind, message: string, record: number) {
    super(message);
    this.name = 'StoreError';
    this.kind = kind;
    this.record = record;
  }
}
