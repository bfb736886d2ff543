/**
 * ClientMessage: one message to one client on its way, from the request to its answer: what became of it in the broker, and, where that is asked, until the client has
 * acknowledged it.
 *
 *   publishToClient ─ refused ─▶ problem
 *        └─ taken ─┬─▶ 202 delivered │ queued │ mailbox
 *                  └─ confirm ─▶ 200 acknowledged │ 409 expired, dropped, session-ended │ 504 nothing in time, or the client's shard has died
 */
import { utf8Bytes } from '../base/bytes.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { type PendingAck, STATUS_WORDS, type Told } from '../shard/outcome.ts';
import { publishToClient, TOLD_LATER } from '../shard/publish-for.ts';
import type { Shard } from '../shard/shard.ts';
import type { Caller } from './caller.ts';
import type { Replier } from './idempotency.ts';
import { MessageInput } from './message-input.ts';
import { type ProblemCode, problem, retryAfter } from './problem.ts';
import { isSuccess, publishProblem, resultProblem } from './publish-outcome.ts';
import type { Answer } from './route.ts';

const ENDS: Readonly<Record<string, readonly [code: ProblemCode, detail: string]>> = {
  expired: ['expired', 'the message has expired before the client got it'],
  dropped: ['dropped', 'the message was dropped: refused by the client, or pushed out of its queue'],
  'session-ended': ['session-ended', 'the session of the client ended before it got the message'],
};

export class ClientMessage implements Told {
  private readonly shard: Shard;
  private readonly caller: Caller;
  private readonly clientId: string;
  private readonly input: MessageInput;
  private readonly reply: Replier;
  private readonly begunAt: number;
  /** That the client sees. */
  private topic: string;
  /** Number in `shard.confirmations`; 0: none. */
  private waiter: number;
  /** What the broker has done with it; '' before that is known. */
  private state: string;
  private isOver: boolean;

  constructor(shard: Shard, caller: Caller, clientId: string, input: MessageInput, reply: Replier) {
    this.shard = shard;
    this.caller = caller;
    this.clientId = clientId;
    this.input = input;
    this.reply = reply;
    this.begunAt = performance.now();
    this.topic = '';
    this.waiter = 0;
    this.state = '';
    this.isOver = false;
  }

  /** Sends it; what comes of it is told to the Replier, at once or later. */
  send(): void {
    const { shard, input, clientId } = this;
    if (input.confirm) {
      this.waiter = shard.confirmations.begin(clientId, input.timeoutMilliseconds, (status) => this.confirmed(status));
      if (this.waiter === 0) {
        this.end(retryAfter(1, problem('unavailable', 'too many requests wait for clients; try again')));
        return;
      }
    }
    this.topic = input.topic === '' ? addressOf(shard, clientId) : input.topic;
    const given = input.topic === '' ? Object.assign(new MessageInput(), input, { topic: this.topic }) : input;
    const code = publishToClient(shard, this.caller.connection, given, utf8Bytes(clientId), input.onlyConnected, this.waiter, this);
    if (code === TOLD_LATER) return;
    const { wasTaken, taken, worst } = shard.outcome;
    // Where it was refused before it was routed, the outcome is still that of another message.
    this.published(code, code >= 0 && wasTaken, taken, worst);
  }

  complete(ack: PendingAck): void {
    this.published(ack.reason, ack.wasTaken, ack.taken, ack.worst);
  }

  /** Nobody waits for the answer any more. The message goes on. */
  forget(): void {
    this.isOver = true;
    this.shard.confirmations.forget(this.waiter);
  }

  private published(code: number, wasTaken: boolean, taken: number, worst: number): void {
    const { clientId, input } = this;
    if (isSuccess(code) && wasTaken) {
      this.state = STATUS_WORDS[taken]!;
      if (input.confirm) this.shard.confirmations.taken(this.waiter);
      else this.end({ status: 202, body: { clientId, status: this.state } });
      return;
    }
    this.end(
      isSuccess(code)
        ? resultProblem(worst, ReasonCode.NoMatchingSubscribers)
        : publishProblem(this.shard, this.topic, code, worst, clientId),
    );
  }

  private confirmed(status: string | null): void {
    this.waiter = 0;
    const { clientId, state, input } = this;
    if (status === 'acknowledged') {
      const milliseconds = Math.round(performance.now() - this.begunAt);
      this.end({ status: 200, body: { clientId, status, milliseconds } });
    } else if (status === null) {
      const detail = `the client has not acknowledged within ${input.timeoutMilliseconds / 1000} s; the message stays under its own rules`;
      this.end(problem('timeout', detail, state === '' ? {} : { state }));
    } else if (status === 'shard-failed') {
      const detail =
        'the shard of the client failed after it had taken the message, which stays under its own rules; nobody can tell whether it is acknowledged';
      this.end(problem('timeout', detail, { state }));
    } else {
      const [code, detail] = ENDS[status] ?? ['dropped', 'the client did not get the message'];
      this.end(problem(code, detail));
    }
  }

  private end(answer: Answer): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.waiter !== 0) this.shard.confirmations.forget(this.waiter);
    this.reply.answer(answer);
  }
}

/** The topic of a message that names none: the client's own address, as far as its identifier can stand in a topic. */
function addressOf({ settings }: Shard, clientId: string): string {
  const { parents } = settings.p2p;
  const first = parents === '*' ? 'cmd' : (parents[0] ?? 'cmd');
  const isTopic = !/[+#\0]/.test(clientId) && Buffer.byteLength(clientId) < 60_000;
  return `${first}/p2p/${isTopic ? clientId : ''}`;
}
