/**
 * What became of a message, as the answer to a request.
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import { DENIED, DROPPED, FULL, NO_SESSION, OFFLINE, TOO_LARGE, UNSTORABLE } from '../shard/outcome.ts';
import { CONGESTED, OVER_MISSES, OVER_QUOTA, PROPERTY_INVALID } from '../shard/publish-for.ts';
import type { Shard } from '../shard/shard.ts';
import { problem, retryAfter } from './problem.ts';
import type { Answer } from './route.ts';
import { topicFault } from './topic-fault.ts';

/** They are counted in minutes. */
const MISSES_SECONDS = 60;
export const OVER_QUOTA_ANSWER: Answer = retryAfter(
  1,
  problem('quota-exceeded', 'a quota for what comes in is used up; try again', { reasonCode: 0x97 }),
);
const JSON_TYPE = 'application/json';

/** Texts, because they are sent very often. */
const PUBLISHED: Answer = { status: 200, type: JSON_TYPE, body: '{"status":"ok","reasonCode":0}' };
const UNHEARD: Answer = { status: 200, type: JSON_TYPE, body: '{"status":"ok","reasonCode":16}' };

/** Whether a reason code is a success; 16 says that nobody has subscribed. */
export function isSuccess(code: number): boolean {
  return code >= 0 && code < 0x80;
}

/** @param code as `publishFor` returns it, or that of a `PendingAck`; @param worst result of a receiver */
export function publishAnswer(shard: Shard, topic: string, code: number, worst: number): Answer {
  if (code === ReasonCode.Success) return PUBLISHED;
  return isSuccess(code) ? UNHEARD : publishProblem(shard, topic, code, worst);
}

/** The same where it is no success. @param clientId whom the message was for, whatever its topic; null: nobody in particular */
export function publishProblem(shard: Shard, topic: string, code: number, worst: number, clientId: string | null = null): Answer {
  switch (code) {
    case CONGESTED:
      return retryAfter(1, problem('unavailable', 'the broker has more to do than it can; try again'));
    case OVER_QUOTA:
      return OVER_QUOTA_ANSWER;
    case OVER_MISSES:
      return retryAfter(
        MISSES_SECONDS,
        problem('too-many-requests', 'too many messages went to clients that nobody knows: see p2p.missesPerMinute', { reasonCode: 0x97 }),
      );
    case PROPERTY_INVALID:
      return problem('bad-request', 'a property is longer than 65,535 bytes, holds U+0000, or is a response topic with wildcards');
    case ReasonCode.TopicNameInvalid:
      return withReason('bad-request', topicFault(topic, shard.settings.limits.topicLevels, clientId), code);
    case ReasonCode.QosNotSupported:
      return withReason('bad-request', 'this broker does not take this QoS: see mqtt.maximumQos', code);
    case ReasonCode.RetainNotSupported:
      return withReason('bad-request', 'this broker keeps no Retained Messages: see mqtt.retainAvailable', code);
    case ReasonCode.PayloadFormatInvalid:
      return withReason('unprocessable', 'the payload is not UTF-8, as payload format 1 promises', code);
    case ReasonCode.NotAuthorized:
      return withReason('forbidden', 'the statements do not allow this', code);
    default:
      return resultProblem(worst, code);
  }
}

/** What a receiver has done with a message that it did not take. @param result as `shard/outcome.ts` has it */
export function resultProblem(result: number, code: number): Answer {
  switch (result) {
    case NO_SESSION:
      return withReason('no-session', 'the broker knows no such client, and keeps nothing for it', code);
    case OFFLINE:
      return withReason('offline', 'the client is not connected; nothing was sent or kept', code);
    case FULL:
      return withReason('quota-exceeded', 'the queue of the client is full', code);
    case TOO_LARGE:
      return withReason('too-large', 'the client takes no packet of this size', code);
    case DENIED:
      return withReason('forbidden', 'the statements do not allow messages to this client', code);
    case UNSTORABLE:
      return withReason(
        'store-degraded',
        'the message cannot be kept, because the disk takes nothing now; some receivers may have it',
        code,
      );
    case DROPPED:
      return withReason('dropped', 'the client does not take more now, and QoS 0 does not wait', code);
    default:
      return withReason('quota-exceeded', 'the broker has refused the message', code);
  }
}

function withReason(name: Parameters<typeof problem>[0], detail: string, reasonCode: number): Answer {
  return problem(name, detail, { reasonCode });
}
