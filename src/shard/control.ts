/**
 * Control records: the rare things that shards tell each other, as objects packed by msgpackr. Nothing here runs per message.
 *
 * `sequence` counts the route changes of the sending shard; the receiver answers `installed` with the highest one that it knows, and SUBACK waits for that.
 */

/** This shard has (or no longer has) subscriptions to an ordinary filter. */
export interface RouteControl {
  readonly kind: 'route';
  readonly sequence: number;
  readonly filter: string;
  readonly isWanted: boolean;
}

/** Members of a Shared Subscription in this shard. */
export interface ShareControl {
  readonly kind: 'share';
  readonly sequence: number;
  readonly shareName: string;
  readonly filter: string;
  readonly onlineCount: number;
  readonly memberCount: number;
}

export interface InstalledControl {
  readonly kind: 'installed';
  readonly sequence: number;
}

/** All routes of this shard have been sent; a restarted shard may serve when it has one from each peer. */
export interface SnapshotEndControl {
  readonly kind: 'snapshot-end';
  readonly sequence: number;
}

/** A restarted shard has announced all that its recovered sessions want. */
export interface RecoveredControl {
  readonly kind: 'recovered';
}

/** The disk refuses what this shard has taken and not answered. */
export interface StoreFailedControl {
  readonly kind: 'store-failed';
}

/** Asks for Retained Messages that match a filter; `more` asks for the next batch, `cancel` forgets the query. */
export interface RetainedQueryControl {
  readonly kind: 'retained-query';
  readonly query: number;
  readonly filter: string;
}

export interface RetainedMoreControl {
  readonly kind: 'retained-more';
  readonly query: number;
}

export interface RetainedCancelControl {
  readonly kind: 'retained-cancel';
  readonly query: number;
}

/** A batch of answers ends; `isLast` when nothing is left. */
export interface RetainedEndControl {
  readonly kind: 'retained-end';
  readonly query: number;
  readonly isLast: boolean;
}

/** Large bodies taken from the MessagePort so far. */
export interface JumboTakenControl {
  readonly kind: 'jumbo-taken';
  readonly count: number;
}

/** A question to a handler of that name (`asks.ts`). */
export interface AskControl {
  readonly kind: 'ask';
  readonly ask: number;
  readonly name: string;
  readonly value: unknown;
}

/** The answer to a question; null: there is none. */
export interface AnswerControl {
  readonly kind: 'answer';
  readonly ask: number;
  readonly value: unknown;
}

/** What became in the end of a message for which somebody in the receiving shard waits (`confirmations.ts`). */
export interface ConfirmedControl {
  readonly kind: 'confirmed';
  readonly waiter: number;
  readonly target: string;
  readonly status: string;
}

export type Control =
  | RouteControl
  | ShareControl
  | InstalledControl
  | SnapshotEndControl
  | RecoveredControl
  | StoreFailedControl
  | RetainedQueryControl
  | RetainedMoreControl
  | RetainedCancelControl
  | RetainedEndControl
  | JumboTakenControl
  | AskControl
  | AnswerControl
  | ConfirmedControl;
