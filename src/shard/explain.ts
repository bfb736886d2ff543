/**
 * Explain: the Reason Strings of this broker, one sentence for each refusal inside a packet. They are for people who read a client's log (section 3.4.2.2.2);
 * nothing decides by them. Sent only where the client allows problem information and where the packet stays within its Maximum Packet Size.
 */
import type { Properties } from '../protocol/property.ts';
import { ReasonCode } from '../protocol/reason-code.ts';

const PUBLISH_SENTENCES: ReadonlyMap<number, string> = new Map([
  [ReasonCode.QuotaExceeded, 'too much: a quota is used up, or a queue, a mailbox or the retained store is full'],
  [ReasonCode.NotAuthorized, 'not authorized to publish this; topics that begin with $ belong to the broker'],
  [ReasonCode.TopicNameInvalid, 'too many topic levels, or a P2P address without a target'],
  [ReasonCode.PayloadFormatInvalid, 'the payload is not the UTF-8 that its Payload Format Indicator promises'],
  [ReasonCode.ImplementationSpecificError, 'the message is larger than the target accepts'],
]);

const SUBSCRIBE_SENTENCES: ReadonlyMap<number, string> = new Map([
  [ReasonCode.NotAuthorized, 'not authorized to subscribe to this; the address of another client never may be'],
  [ReasonCode.TopicFilterInvalid, 'not a valid Topic Filter, or too many levels'],
  [ReasonCode.QuotaExceeded, 'too many subscriptions in this session or in a short time, or the store is degraded'],
  [ReasonCode.SharedSubscriptionsNotSupported, 'Shared Subscriptions are switched off'],
  [ReasonCode.WildcardSubscriptionsNotSupported, 'wildcards are switched off'],
]);

/** Properties of a PUBACK or PUBREC that refuses, or undefined. */
export function explainPublish(reason: ReasonCode): Properties | undefined {
  const reasonString = PUBLISH_SENTENCES.get(reason);
  return reasonString === undefined ? undefined : { reasonString };
}

/** Properties of a PUBACK or PUBREC for a message that must be stored and cannot be. */
export function explainUnstorable(): Properties {
  return { reasonString: 'the store is degraded: its disk takes nothing at the moment; send the message again later' };
}

/** Properties of a SUBACK: the sentence for its first refusal, or undefined when all is granted. */
export function explainSubscribe(codes: readonly ReasonCode[]): Properties | undefined {
  for (const code of codes) {
    const reasonString = SUBSCRIBE_SENTENCES.get(code);
    if (reasonString !== undefined) return { reasonString };
  }
  return undefined;
}
