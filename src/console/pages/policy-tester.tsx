/**
 * Who may do what: which statement decides, for any client and any action. Nothing is done.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask } from '../api.ts';
import { PAIRS_HINT, pairsFault, readPairs } from '../pairs.ts';
import { Area, Check, Choice, Field, QOS_OPTIONS } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';

interface Verdict {
  readonly allowed: boolean;
  /** Who or what has decided. */
  readonly by: string;
  /** Place of the statement; null: none. */
  readonly statement: number | null;
  /** The statement as JSON, or why. */
  readonly text: string;
}

/** What an action is about: its name in the request, and for people. */
const OBJECTS: Readonly<Record<string, readonly [name: string, label: string]>> = {
  publish: ['topic', 'Topic'],
  subscribe: ['filter', 'Filter'],
  p2p: ['target', 'Target'],
  observe: ['filter', 'Filter'],
};

const REASONS: Readonly<Record<string, string>> = {
  default: 'No statement matches.',
  'no-statements': 'There are no statements.',
  superuser: 'Superusers are not judged.',
  broker: 'The broker itself does not allow it.',
};

export function Tester(): VNode {
  const [clientId, setClientId] = useState('');
  const [username, setUsername] = useState('');
  const [address, setAddress] = useState('');
  const [attributes, setAttributes] = useState('');
  const [action, setAction] = useState('publish');
  const [subject, setSubject] = useState('');
  const [qos, setQos] = useState('0');
  const [isRetained, setRetained] = useState(false);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const object = OBJECTS[action];
  const tried = useTried(['clientId', 'username', 'address', 'attributes', ...(object === undefined ? [] : [object[0]])]);
  const test = async (): Promise<void> => {
    const wrong = pairsFault(attributes);
    if (wrong !== '') {
      tried.fail(wrong, 'attributes');
      return;
    }
    const pairs = readPairs(attributes);
    const body = {
      clientId,
      ...(username !== '' && { username }),
      ...(address !== '' && { address }),
      ...(Object.keys(pairs).length > 0 && { attributes: pairs }),
      action,
      ...(object !== undefined && { [object[0]]: subject, qos: Number(qos) }),
      ...(action === 'publish' && { retain: isRetained }),
    };
    setVerdict(null);
    await tried.attempt(async () => setVerdict(await ask<Verdict>('POST', '/api/v1/policies/test', { body })));
  };
  return (
    <section aria-labelledby="tester">
      <h2 id="tester">Who may do what?</h2>
      <Form label="Who may do what" onSubmit={test}>
        <div class="grid">
          <Field label="Client ID" value={clientId} onInput={setClientId} required isSearch fault={tried.faultOf('clientId')} />
          <Field label="Username" value={username} onInput={setUsername} fault={tried.faultOf('username')} />
          <Field label="Address" value={address} onInput={setAddress} placeholder="10.0.0.7" fault={tried.faultOf('address')} />
        </div>
        <div class="grid">
          <Choice
            label="Wants to"
            value={action}
            options={[
              ['publish', 'publish to a topic'],
              ['subscribe', 'subscribe to a filter'],
              ['p2p', 'write to a client (P2P)'],
              ['observe', "observe a client's P2P messages"],
              ['connect', 'connect'],
            ]}
            onInput={setAction}
          />
          {object !== undefined && (
            <Field label={object[1]} value={subject} onInput={setSubject} required fault={tried.faultOf(object[0])} />
          )}
          {object !== undefined && <Choice label="QoS" value={qos} options={QOS_OPTIONS} onInput={setQos} />}
        </div>
        {action === 'publish' && <Check label="As a retained message" isChecked={isRetained} onInput={setRetained} />}
        <details>
          <summary>Attributes</summary>
          <Area
            label="Attributes of the client"
            value={attributes}
            onInput={setAttributes}
            rows={3}
            hint={PAIRS_HINT}
            fault={tried.faultOf('attributes')}
            isCode
          />
        </details>
        <FormEnd tried={tried} action="Test" />
      </Form>
      <div role="status" aria-live="polite" class="outcome">
        {verdict !== null && (
          <article class={verdict.allowed ? 'good' : 'bad'}>
            <p>
              <strong>{verdict.allowed ? 'Allowed' : 'Not allowed'}</strong>
              {verdict.statement === null ? `: ${REASONS[verdict.by] ?? verdict.by}` : ` by statement ${verdict.statement + 1}`}
            </p>
            <pre class="payload">{verdict.text}</pre>
          </article>
        )}
      </div>
    </section>
  );
}
