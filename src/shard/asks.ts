/**
 * Asks: questions from one shard to another, or to the supervisor, and their answers; for what people ask (lists, details, changes), never for messages.
 *
 *   ask(target, name, arguments) ──▶ handler of that name over there ──▶ answer, at once or later
 *                      └── nothing in time, or the shard has died: null
 *
 * Values are packed by msgpackr on the rings and cloned on the way to the supervisor: plain objects, no functions. How many wait is bounded.
 */
import { Timer } from '../base/timers.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const WAITING = counter('asks/waiting');
const ASKED = counter('asks/sent');
const UNANSWERED = counter('asks/unanswered');
const REFUSED = counter('asks/refused');

/** The target that is no shard. */
export const SUPERVISOR = -1;

/** Questions of one shard that wait for answers. */
const WAITING_MAX = 10_000;
const TIMEOUT_MILLISECONDS = 10_000;

/** Gives the answer to a question, once; later ones are nobody's. */
export type GiveAnswer = (value: unknown) => void;
/** Answers a question of a shard, this one included. */
export type AskHandler = (value: unknown, answer: GiveAnswer) => void;

interface Waiting {
  readonly target: number;
  readonly done: (value: unknown) => void;
  readonly timer: Timer;
}

export class Asks {
  /** The way to the supervisor; set by the thread. */
  toSupervisor: (ask: number, name: string, value: unknown) => void;
  private readonly shard: Shard;
  private readonly handlers: Map<string, AskHandler>;
  private readonly waiting: Map<number, Waiting>;
  private next: number;

  constructor(shard: Shard) {
    this.toSupervisor = () => {};
    this.shard = shard;
    this.handlers = new Map();
    this.waiting = new Map();
    // Not from 1: an answer to a question of a predecessor of this shard must not meet one of ours.
    this.next = 1 + Math.floor(Math.random() * 0x3fffffff);
  }

  /** Names a handler. @throws when the name is taken */
  handle(name: string, handler: AskHandler): void {
    if (this.handlers.has(name)) throw new Error(`two handlers are called ${name}`);
    this.handlers.set(name, handler);
  }

  /**
   * Asks a shard, or the supervisor.
   * @param done called once: with the answer, or with null when there is none (too many questions wait, the shard is down, nothing in time)
   */
  ask(
    target: number,
    name: string,
    value: unknown,
    done: (value: unknown) => void,
    timeoutMilliseconds: number = TIMEOUT_MILLISECONDS,
  ): void {
    const { shard } = this;
    if (this.waiting.size >= WAITING_MAX || (target !== SUPERVISOR && target !== shard.index && !shard.mesh.isLive(target))) {
      shard.counters[REFUSED]!++;
      done(null);
      return;
    }
    const ask = this.next;
    this.next = ask >= 0x7fffffff ? 1 : ask + 1;
    const timer = new Timer(() => {
      shard.counters[UNANSWERED]!++;
      this.answered(ask, null);
    });
    this.waiting.set(ask, { target, done, timer });
    shard.counters[ASKED]!++;
    shard.counters[WAITING] = this.waiting.size;
    shard.timers.arm(timer, timeoutMilliseconds);
    if (target === SUPERVISOR) this.toSupervisor(ask, name, value);
    else if (target === shard.index) this.handleAsk(name, value, (answer) => this.answered(ask, answer));
    else shard.mesh.sendControl(target, { kind: 'ask', ask, name, value });
  }

  /** Asks every shard, this one included. @param done called with the answers by shard; null where there was none */
  askAll(name: string, value: unknown, done: (answers: readonly unknown[]) => void, timeoutMilliseconds?: number): void {
    const answers: unknown[] = [];
    let missing = this.shard.shards;
    for (let target = 0; target < this.shard.shards; target++) {
      answers.push(null);
      this.ask(
        target,
        name,
        value,
        (answer) => {
          answers[target] = answer;
          if (--missing === 0) done(answers);
        },
        timeoutMilliseconds,
      );
    }
  }

  /** A question of another shard. */
  asked(peer: number, ask: number, name: string, value: unknown): void {
    this.handleAsk(name, value, (answer) => this.shard.mesh.sendControl(peer, { kind: 'answer', ask, value: answer }));
  }

  private handleAsk(name: string, value: unknown, answer: GiveAnswer): void {
    const handler = this.handlers.get(name);
    if (handler === undefined) {
      this.shard.log.error({ name }, 'nothing in this shard answers such a question');
      answer(null);
      return;
    }
    handler(value, answer);
  }

  /** The answer has come. One that comes too late is nobody's. */
  answered(ask: number, value: unknown): void {
    const waiting = this.waiting.get(ask);
    if (waiting === undefined) return;
    this.waiting.delete(ask);
    this.shard.counters[WAITING] = this.waiting.size;
    this.shard.timers.disarm(waiting.timer);
    this.shard.startTurn();
    waiting.done(value);
  }

  /** A shard has died: it answers nothing more. */
  peerDied(peer: number): void {
    for (const [ask, { target }] of [...this.waiting]) if (target === peer) this.answered(ask, null);
  }
}
