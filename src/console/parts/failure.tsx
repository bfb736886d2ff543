/**
 * Why a part of a page shows nothing.
 */
import type { VNode } from 'preact';
import type { ApiError } from '../api.ts';
import { failureText } from './notices.tsx';

/** @param what the part, as in “the message history” */
export function Failure({ error, what }: { readonly error: ApiError; readonly what: string }): VNode {
  if (error.status === 501)
    return (
      <p class="missing" role="note">
        This broker does not offer {what}: it is switched off in its configuration, or this version does not have it. The broker says:{' '}
        {error.message}
      </p>
    );
  if (error.status === 404)
    return (
      <p class="missing" role="note">
        It is not there, or not any more. The broker says: {error.message}
      </p>
    );
  return (
    <p class="failure" role="alert">
      {error.status === 403 ? 'Your role does not let you see this. ' : ''}
      {failureText(error)}
    </p>
  );
}
