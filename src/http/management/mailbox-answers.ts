/**
 * What a shard answers about mailboxes: P2P messages for Client Identifiers that have no session yet.
 */
import { readText, utf8Bytes } from '../../base/bytes.ts';
import { hash32 } from '../../base/hash.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import type { Mailbox } from '../../shard/mailbox.ts';
import { peekQueue } from '../../shard/peek-queue.ts';
import type { Shard } from '../../shard/shard.ts';
import { answerFromMap, type ListAsk } from './chunk.ts';
import { BYTES_SHOWN_MAX, MESSAGES_SHOWN_MAX, shownMessages } from './message-facts.ts';
import { type Reply, refusal } from './reply.ts';
import { timeOf } from './time-of.ts';

export interface MailboxQuery {
  /** Beginning of the Client Identifier; absent: any. */
  readonly prefix?: string | undefined;
}

const NONE: Reply = refusal('not-found', 'there is no mailbox for this Client Identifier');

export function answerAboutMailboxes(shard: Shard): void {
  const { asks } = shard;
  const { boxes } = shard.mailboxes;
  asks.handle('mailbox-list', (value, answer) => {
    const ask = value as ListAsk<MailboxQuery>;
    const { prefix } = ask.query;
    answerFromMap<Mailbox, Mailbox>(
      shard,
      boxes,
      ask,
      (box, order, found) => {
        const clientId = clientIdOf(box);
        if (prefix === undefined || clientId.startsWith(prefix)) found.add([order, clientId, ''], box);
      },
      (box) => JSON.stringify(mailboxFacts(shard, box)),
      answer,
    );
  });
  asks.handle('mailbox-get', (value, answer) => {
    const box = mailboxOf(shard, value);
    if (box === undefined) answer(NONE);
    else show(shard, box, answer);
  });
  asks.handle('mailbox-delete', (value, answer) => {
    const box = mailboxOf(shard, value);
    if (box === undefined) {
      answer(NONE);
      return;
    }
    const messages = box.queue.count;
    shard.mailboxes.remove(box);
    shard.journal.whenCommitted(() => answer({ body: { deleted: true, messages } } satisfies Reply));
  });
}

function clientIdOf({ clientId }: Mailbox): string {
  return readText(clientId, 0, clientId.length);
}

function mailboxOf(shard: Shard, value: unknown): Mailbox | undefined {
  const bytes = utf8Bytes((value as { readonly clientId: string }).clientId);
  return shard.mailboxes.boxes.get(bytes, 0, bytes.length, hash32(bytes, 0, bytes.length));
}

function mailboxFacts(shard: Shard, box: Mailbox): object {
  const { queue, createdAt } = box;
  return {
    clientId: clientIdOf(box),
    messages: queue.count,
    bytes: queue.bytes,
    createdAt: timeOf(createdAt),
    expiresAt: timeOf(createdAt + shard.settings.p2p.mailbox.ttlSeconds * 1000),
    shard: shard.index,
  };
}

function show(shard: Shard, box: Mailbox, answer: GiveAnswer): void {
  peekQueue(shard, box.queue, MESSAGES_SHOWN_MAX, BYTES_SHOWN_MAX, (deliveries) => {
    answer({ body: { ...mailboxFacts(shard, box), messageList: shownMessages(deliveries) } } satisfies Reply);
  });
}
