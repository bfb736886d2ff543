/**
 * Ending the connection of a client, or its session.
 */
import { ask, at } from '../api.ts';
import { confirmed } from '../parts/dialog.tsx';
import { attempt } from '../parts/notices.tsx';

/** Ends a connection, after a question. */
export async function kick(clientId: string, isSessionToo: boolean): Promise<boolean> {
  const text = isSessionToo
    ? `${clientId} loses its connection, its subscriptions and its waiting messages.`
    : `${clientId} loses its connection. It may connect again at once.`;
  if (!(await confirmed(isSessionToo ? 'End the session?' : 'Disconnect?', text, isSessionToo ? 'End the session' : 'Disconnect')))
    return false;
  return attempt(
    () => ask('DELETE', at`/api/v1/clients/${clientId}`, { query: { session: isSessionToo || undefined } }),
    isSessionToo ? `The session of ${clientId} has ended` : `${clientId} is disconnected`,
  );
}
