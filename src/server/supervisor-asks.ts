/**
 * SupervisorAsks: all that the supervisor answers when a shard asks, in one place; each subject has a file of its own.
 */

import type { BlockRule } from '../access/block-rules.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';
import type { ApiKey } from '../http/api-key.ts';
import type { AskDesk } from './ask-desk.ts';
import type { AuditLog } from './audit-log.ts';
import type { CertificateWatch } from './certificate-watch.ts';
import { accessAsks } from './desk-access.ts';
import { authenticatorAsks } from './desk-authenticators.ts';
import { certificateAsks } from './desk-certificates.ts';
import { configAsks } from './desk-config.ts';
import { deviceAsks } from './desk-devices.ts';
import { listenerAsks } from './desk-listeners.ts';
import { policyAsks } from './desk-policies.ts';
import { storeAsks } from './desk-store.ts';
import { userAsks } from './desk-users.ts';
import type { Editor } from './editor.ts';
import type { HistoryOwner } from './history-owner.ts';
import type { HistoryAsk } from './history-thread.ts';
import type { LiveSettings } from './live-settings.ts';
import type { LoginDesk } from './login-desk.ts';
import type { StoreOwner } from './store-owner.ts';
import { keepTopicMeters } from './topic-meter-desk.ts';
import type { WatchedFile } from './watched-file.ts';

/** What the supervisor has. */
export interface SupervisorParts {
  readonly log: Log;
  /** As the broker has started. */
  readonly settings: Settings;
  readonly live: LiveSettings;
  readonly certificates: CertificateWatch;
  readonly blocks: WatchedFile<BlockRule>;
  readonly apiKeys: WatchedFile<ApiKey>;
  /** Null: there are no authenticators. */
  readonly logins: LoginDesk | null;
  /** Null: nothing is stored. */
  readonly store: StoreOwner | null;
  /** Null: no message is kept. */
  readonly history: HistoryOwner | null;
  readonly editor: Editor;
  readonly audit: AuditLog;
  readonly counters: SharedArrayBuffer;
  /** Resolves when every shard has taken what it was told: whoever is answered then finds the change everywhere. */
  readonly settled: () => Promise<void>;
  /** Ports of the listeners, as they are. */
  readonly ports: () => readonly number[];
}

/** Names every question that the supervisor answers. */
export function answerShards(desk: AskDesk, parts: SupervisorParts): void {
  userAsks(desk, parts);
  policyAsks(desk, parts);
  deviceAsks(desk, parts);
  certificateAsks(desk, parts);
  accessAsks(desk, parts);
  authenticatorAsks(desk, parts);
  listenerAsks(desk, parts);
  configAsks(desk, parts);
  storeAsks(desk, parts);
  keepTopicMeters(desk);
  desk.handle('history', (ask: HistoryAsk) => parts.history?.ask(ask) ?? null);
  desk.handle('audit', (entry: Parameters<AuditLog['add']>[0]) => {
    parts.audit.add(entry);
    return true;
  });
  desk.handle('audit/list', (asked: Parameters<AuditLog['list']>[0]) => parts.audit.list(asked));
}
