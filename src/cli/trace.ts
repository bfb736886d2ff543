/** placeholder */
import type { ApiOptions } from './api-client.ts';
export interface TraceOptions extends ApiOptions {
  readonly client?: string;
  readonly filter?: string;
  readonly message?: string;
  readonly sample?: number;
  readonly seconds: number;
}
export async function trace(_: TraceOptions): Promise<void> {}
