/**
 * Block rules: who may not connect, whatever they can prove.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, isolated, NONE, time } from '../format.ts';
import { readItems } from '../pairs.ts';
import { Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { say } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';

interface BlockRule {
  readonly name: string;
  readonly kind: string;
  readonly include: string;
  readonly excludes?: readonly string[];
  /** Empty: never. */
  readonly expiresAt: string | null;
  readonly hasEnded: boolean;
  readonly remark?: string;
}

export function BlockRulesPage(): VNode {
  return (
    <Records<BlockRule>
      title="Block rules"
      intro={<p>Whoever a rule names cannot connect, and is disconnected at once if it is.</p>}
      path="/api/v1/block-rules"
      isWhole
      one="block rule"
      many="block rules"
      canChange={false}
      nameOf={({ name }) => name}
      columns={[
        { title: 'Name', cell: ({ name }) => name },
        { title: 'By', cell: ({ kind }) => kind },
        { title: 'Blocks', cell: ({ include }) => <code>{include}</code>, isLong: true },
        { title: 'But not', cell: ({ excludes }) => any(excludes), isLong: true },
        {
          title: 'Until',
          cell: ({ expiresAt, hasEnded }) => (expiresAt === null ? 'for ever' : `${time(expiresAt)}${hasEnded ? ' (has ended)' : ''}`),
        },
        { title: 'Remark', cell: ({ remark }) => remark || NONE, isLong: true },
      ]}
      removal={{
        path: ({ name }) => at`/api/v1/block-rules/${name}`,
        text: ({ include }) => `${isolated(include)} may connect again.`,
        done: ({ name }) => `${name} holds no longer`,
      }}
      form={(_, done) => <BlockRuleForm done={done} />}
    />
  );
}

function BlockRuleForm({ done }: { readonly done: () => void }): VNode {
  const [name, setName] = useState('');
  const [kind, setKind] = useState('client-id');
  const [include, setInclude] = useState('');
  const [excludes, setExcludes] = useState('');
  const [hours, setHours] = useState('');
  const [remark, setRemark] = useState('');
  const tried = useTried(['name', 'include', 'excludes', 'seconds', 'remark']);
  const save = async (): Promise<void> => {
    const body = {
      name,
      kind,
      include,
      excludes: readItems(excludes),
      remark,
      ...(hours !== '' && { seconds: Math.round(Number(hours) * 3600) }),
    };
    if (!(await tried.attempt(() => ask('POST', '/api/v1/block-rules', { body })))) return;
    say(`${name} holds`);
    done();
  };
  return (
    <Form label="Block rule" onSubmit={save}>
      <Field
        label="Name"
        value={name}
        onInput={setName}
        required
        pattern="[A-Za-z0-9\-]{1,64}"
        hint="Letters, digits and -."
        fault={tried.faultOf('name')}
      />
      <Choice
        label="By"
        value={kind}
        options={[
          ['client-id', 'client ID'],
          ['username', 'username'],
          ['address', 'address or network'],
        ]}
        onInput={setKind}
      />
      <Field
        label="Blocks"
        value={include}
        onInput={setInclude}
        required
        placeholder={kind === 'address' ? '203.0.113.0/24' : 'pump-*'}
        fault={tried.faultOf('include')}
      />
      <Field label="But not" value={excludes} onInput={setExcludes} hint="Several with commas." fault={tried.faultOf('excludes')} />
      <Field
        label="For (hours)"
        type="number"
        step="any"
        min={0}
        value={hours}
        onInput={setHours}
        hint="Empty: for ever."
        fault={tried.faultOf('seconds')}
      />
      <Field label="Remark" value={remark} onInput={setRemark} fault={tried.faultOf('remark')} />
      <FormEnd tried={tried} action="Block" />
    </Form>
  );
}
