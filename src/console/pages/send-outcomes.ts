/**
 * What becomes of a message to a device, in words: for whoever sends one for the first time.
 */
import type { ApiError } from '../api.ts';

export interface Outcome {
  /** `acknowledged`, `delivered`, `no-session`: as the API says it. */
  readonly status: string;
  readonly isGood: boolean;
  readonly title: string;
  /** What it means for the device, and what to do. */
  readonly text: string;
  /** What the broker has said itself; '' for nothing more. */
  readonly detail: string;
}

type Words = readonly [title: string, text: string];

const GOOD: Readonly<Record<string, Words>> = {
  acknowledged: ['Acknowledged', 'The device has received the message and has acknowledged it.'],
  delivered: [
    'Delivered',
    'The device is connected, and the message is on its way to it. Whether it has arrived is not known: ask for the receipt to know.',
  ],
  queued: [
    'Queued',
    'The message waits in the session of the device, and goes when the device connects or has acknowledged what is before it.',
  ],
  mailbox: ['In the mailbox', 'The device has no session. The message waits in its mailbox until it connects for the first time.'],
};

const BAD: Readonly<Record<string, Words>> = {
  'no-session': [
    'No session',
    'The broker knows no device of this client ID, and no mailbox takes the message. Nothing was kept. Is the client ID right?',
  ],
  offline: ['Not connected', 'The device is not connected, and the message was to go only if it is. Nothing was kept.'],
  timeout: ['No receipt in time', 'The device has not acknowledged in time. The message stays under its own rules: it may still arrive.'],
  'too-large': ['Too large', 'The message is larger than the device or the broker takes. Nothing was sent.'],
  dropped: ['Dropped', 'The device takes no more messages now, or the message was pushed out of its queue.'],
  expired: ['Expired', 'The message has expired before the device took it.'],
  'session-ended': ['The session ended', 'The session of the device has ended before the device took the message.'],
  'not-implemented': ['Switched off', 'Messages to single devices are switched off in the configuration (p2p.enabled).'],
  'quota-exceeded': ['A quota is full', 'A quota or the queue of the device is full. Try again later.'],
  'too-many-requests': ['Too many', 'Too many messages went to devices that nobody knows. Try again in a minute.'],
  forbidden: [
    'Not allowed',
    'The statements do not let you send this. Whoever sees the page Policies can test there which of them decides.',
  ],
  'store-degraded': ['The store takes nothing', 'The disk takes nothing now, so the message cannot be kept. Try again later.'],
  unavailable: ['The broker is busy', 'The broker cannot do this now. Try again.'],
  'bad-request': ['Not sent', 'Something in the form is not right.'],
  unprocessable: ['Not sent', 'Something in the form is not right.'],
  unreachable: ['No answer', 'The broker does not answer. Whether the message was sent is not known.'],
  unsendable: ['Not sent', 'A browser cannot send to a client ID that is . or .. alone. Other HTTP clients can: curl --path-as-is.'],
};

/** For failures without words of their own here. */
const BY_STATUS: Readonly<Record<number, string>> = {
  400: 'bad-request',
  403: 'forbidden',
  404: 'no-session',
  409: 'offline',
  413: 'too-large',
  422: 'unprocessable',
  429: 'quota-exceeded',
  503: 'unavailable',
  504: 'timeout',
};

/** What had become of it before the time was over. */
const STATES: Readonly<Record<string, string>> = {
  delivered: 'It went to the connected device at once.',
  queued: 'It waits in the session of the device.',
  mailbox: 'It waits in the mailbox of the device.',
};

/** Nobody waits for the receipt any more. */
export const NOT_WAITED: Outcome = {
  status: 'not-waited',
  isGood: true,
  title: 'Not waited for',
  text: 'The message was sent, and goes on its way. Whether it arrives is not told here any more.',
  detail: '',
};

export function goodOutcome(status: string): Outcome {
  const [title, text] = GOOD[status] ?? [status, ''];
  return { status, isGood: true, title, text, detail: '' };
}

export function badOutcome({ code, status, state, message }: ApiError): Outcome {
  const known = code in BAD ? code : (BY_STATUS[status] ?? '');
  const [title, text] = BAD[known] ?? ['Not sent', ''];
  const before = STATES[state];
  return {
    status: code || String(status),
    isGood: false,
    title,
    text: before === undefined ? text : `${text} ${before}`,
    // What the broker has not said itself stands in the text.
    detail: code === 'timeout' || status === 0 ? '' : message.replace(/\.$/, ''),
  };
}
