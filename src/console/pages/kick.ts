/**
 * Ending the connection of a client, or its session.
 */
import { ask, at } from '../api.ts';
import { isolated } from '../format.ts';
import { confirmed } from '../parts/dialog.tsx';
import { attempt } from '../parts/notices.tsx';

/** Ends a connection, after a question. */
export async function kick(clientId: string, isSessionToo: boolean): Promise<boolean> {
  const name = isolated(clientId);
  const text = isSessionToo
    ? `${name} loses its connection, its subscriptions and its waiting messages.`
    : `${name} loses its connection. It may connect again at once.`;
  if (!(await confirmed(isSessionToo ? 'End the session?' : 'Disconnect?', text, isSessionToo ? 'End the session' : 'Disconnect')))
    return false;
  return attempt(
    () => ask('DELETE', at`/api/v1/clients/${clientId}`, { query: { session: isSessionToo || undefined } }),
    isSessionToo ? `The session of ${name} has ended` : `${name} is disconnected`,
  );
}
