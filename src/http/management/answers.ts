/**
 * Everything that a shard answers for the management of what runs: registered once on each shard that has an HTTP door, which is every shard where there is one.
 */
import type { Shard } from '../../shard/shard.ts';
import { answerAboutClients } from './client-answers.ts';
import { answerAboutGroups } from './group-answers.ts';
import { answerAboutMailboxes } from './mailbox-answers.ts';
import { answerAboutMeters } from './meter-answers.ts';
import { answerAboutRetained } from './retained-answers.ts';
import { answerAboutState } from './state-answers.ts';
import { answerAboutSubscriptions } from './subscription-answers.ts';

export function answerManagement(shard: Shard): void {
  answerAboutClients(shard);
  answerAboutSubscriptions(shard);
  answerAboutGroups(shard);
  answerAboutRetained(shard);
  answerAboutMailboxes(shard);
  answerAboutMeters(shard);
  answerAboutState(shard);
}
