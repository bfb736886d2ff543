/**
 * Certificates: which certificates of devices count, and which authorities may sign them.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { isolated, NONE, time, yesNo } from '../format.ts';
import { confirmed } from '../parts/dialog.tsx';
import { Area, Check, Choice, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { attempt } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';
import { mayAs } from '../session.ts';
import { useSearch } from '../use-search.ts';

/** What a certificate of a device and one of an authority have in common. */
interface CertificateFacts {
  readonly fingerprint: string;
  readonly serial: string;
  readonly commonName: string;
  readonly issuerCommonName: string;
  readonly status: string;
  readonly notAfter: string;
}

interface Certificate extends CertificateFacts {
  readonly clientId: string | null;
}

interface Authority extends CertificateFacts {
  readonly autoRegister: boolean;
  readonly autoActivate: boolean;
}

const PATH = '/api/v1/certificates';
const AUTHORITIES = `${PATH}/authorities`;

function nameOf({ commonName, serial }: CertificateFacts): string {
  return commonName || serial;
}

function pathOf({ fingerprint }: Certificate): string {
  return at`/api/v1/certificates/${fingerprint}`;
}

function authorityPath({ fingerprint }: Authority): string {
  return at`/api/v1/certificates/authorities/${fingerprint}`;
}

export function CertificatesPage(): VNode {
  return (
    <>
      <h1>Certificates</h1>
      <DeviceCertificates />
      <Authorities />
    </>
  );
}

function Status({ status }: { readonly status: string }): VNode {
  return <span class={`badge ${status.toLowerCase()}-certificate`}>{status.toLowerCase().replaceAll('_', ' ')}</span>;
}

interface SwitchFacts {
  readonly of: CertificateFacts;
  readonly path: string;
  readonly changed: () => void;
}

async function become(path: string, of: CertificateFacts, status: string): Promise<boolean> {
  return attempt(() => ask('PUT', path, { body: { status } }), `${nameOf(of)}: ${status.toLowerCase()}`);
}

/** Activates what is not active, and the other way round. @param inactive what it means that it is not */
function Switch({ of, path, inactive, changed }: SwitchFacts & { readonly inactive: string }): VNode {
  const [action, status] = of.status === 'ACTIVE' ? ['Deactivate', 'INACTIVE'] : ['Activate', 'ACTIVE'];
  const change = async (): Promise<void> => {
    if (of.status === 'ACTIVE' && !(await confirmed(`Deactivate ${isolated(nameOf(of))}?`, inactive, 'Deactivate'))) return;
    if (await become(path, of, status!)) changed();
  };
  return (
    <button type="button" class="small outline" aria-label={`${action} ${nameOf(of)}`} onClick={() => void change()}>
      {action}
    </button>
  );
}

function Revoke({ of, path, changed }: SwitchFacts): VNode {
  const revoke = async (): Promise<void> => {
    const text = `Whoever has it is disconnected, and is never let in with it again.`;
    if ((await confirmed(`Revoke the certificate ${isolated(nameOf(of))}?`, text, 'Revoke')) && (await become(path, of, 'REVOKED')))
      changed();
  };
  return (
    <button type="button" class="small danger outline" aria-label={`Revoke ${nameOf(of)}`} onClick={() => void revoke()}>
      Revoke
    </button>
  );
}

function DeviceCertificates(): VNode {
  const clientId = useSearch('clientId');
  const status = useSearch('status');
  return (
    <Records<Certificate>
      title="Certificates of devices"
      isPart
      path={PATH}
      query={{ clientId: clientId.settled, status: status.settled }}
      one="certificate"
      many="certificates"
      what="a registry of certificates"
      empty="No certificate fits."
      canChange={false}
      nameOf={nameOf}
      keyOf={({ fingerprint }) => fingerprint}
      filter={
        <Form label="Search certificates" isInline>
          <Field label="Client ID" type="search" value={clientId.value} onInput={clientId.set} isSearch />
          <Choice
            label="Status"
            value={status.value}
            options={[
              ['', 'any'],
              ['ACTIVE', 'active'],
              ['INACTIVE', 'inactive'],
              ['PENDING_ACTIVATION', 'pending activation'],
              ['REVOKED', 'revoked'],
            ]}
            onInput={status.set}
          />
        </Form>
      }
      columns={[
        { title: 'Name', cell: ({ commonName }) => commonName || NONE, isLong: true },
        { title: 'Client ID', cell: (one) => one.clientId ?? 'any', isLong: true },
        { title: 'Status', cell: (one) => <Status status={one.status} /> },
        { title: 'Signed by', cell: ({ issuerCommonName }) => issuerCommonName, isLong: true },
        { title: 'Valid until', cell: ({ notAfter }) => time(notAfter) },
        { title: 'Serial', cell: ({ serial }) => <code>{serial}</code> },
      ]}
      actions={(one, changed) =>
        mayAs('admin') &&
        one.status !== 'REVOKED' && (
          <>
            <Switch
              of={one}
              path={pathOf(one)}
              inactive="Whoever has it is disconnected, and is not let in with it until it is active again."
              changed={changed}
            />
            <Revoke of={one} path={pathOf(one)} changed={changed} />
          </>
        )
      }
      removal={{
        path: pathOf,
        text: () => 'The registry forgets it, and whoever has it is disconnected. To keep it out, revoke it instead.',
        done: (one, answer) =>
          (answer as { readonly comesAgain: boolean }).comesAgain
            ? `${nameOf(one)} is removed; its authority registers it when it comes again`
            : `${nameOf(one)} is removed`,
      }}
      form={(_, done) => <CertificateForm done={done} />}
    />
  );
}

function CertificateForm({ done }: { readonly done: () => void }): VNode {
  const [certificate, setCertificate] = useState('');
  const [clientId, setClientId] = useState('');
  const tried = useTried(['certificate', 'clientId']);
  const save = async (): Promise<void> => {
    const body = { certificate, clientId: clientId === '' ? null : clientId };
    if (await tried.attempt(() => ask('POST', PATH, { body }))) done();
  };
  return (
    <Form label="Certificate" onSubmit={save}>
      <Area label="Certificate, in PEM" value={certificate} onInput={setCertificate} rows={8} isCode fault={tried.faultOf('certificate')} />
      <Field
        label="Client ID"
        value={clientId}
        onInput={setClientId}
        hint="The one that it is good for; empty: any that belongs to no other."
        fault={tried.faultOf('clientId')}
      />
      <FormEnd tried={tried} action="Register" />
    </Form>
  );
}

function Authorities(): VNode {
  return (
    <Records<Authority>
      title="Authorities"
      isPart
      path={AUTHORITIES}
      isWhole
      one="authority"
      many="authorities"
      what="a registry of authorities"
      empty="There is none."
      canChange={false}
      addAction="Add an authority"
      nameOf={nameOf}
      keyOf={({ fingerprint }) => fingerprint}
      columns={[
        { title: 'Name', cell: ({ commonName }) => commonName || NONE, isLong: true },
        { title: 'Status', cell: ({ status }) => <Status status={status} /> },
        { title: 'Registers by itself', cell: ({ autoRegister }) => yesNo(autoRegister) },
        { title: 'Activates by itself', cell: ({ autoActivate }) => yesNo(autoActivate) },
        { title: 'Valid until', cell: ({ notAfter }) => time(notAfter) },
        { title: 'Serial', cell: ({ serial }) => <code>{serial}</code> },
      ]}
      actions={(one, changed) =>
        mayAs('admin') && (
          <Switch
            of={one}
            path={authorityPath(one)}
            inactive="Clients with certificates that it has signed are disconnected, and are not let in until it is active again."
            changed={changed}
          />
        )
      }
      removal={{
        path: authorityPath,
        text: () =>
          'Certificates that it has signed are registered no longer when they come. Those in the registry keep an authority there.',
        option: ['withCertificates', 'Also remove the certificates that it has signed; their clients are disconnected'],
        done: (one) => `${nameOf(one)} is removed`,
      }}
      form={(_, done) => <AuthorityForm done={done} />}
    />
  );
}

function AuthorityForm({ done }: { readonly done: () => void }): VNode {
  const [code, setCode] = useState('');
  const [ca, setCa] = useState('');
  const [verification, setVerification] = useState('');
  const [autoRegister, setAutoRegister] = useState(false);
  const [autoActivate, setAutoActivate] = useState(false);
  const tried = useTried(['ca', 'verification']);
  const makeCode = async (): Promise<void> =>
    setCode((await ask<{ readonly code: string }>('POST', `${AUTHORITIES}/code`, { body: {} })).code);
  const save = async (): Promise<void> => {
    const body = { ca, verification, autoRegister, autoActivate };
    if (await tried.attempt(() => ask('POST', AUTHORITIES, { body }))) done();
  };
  return (
    <Form label="Authority" onSubmit={save}>
      <p>Whoever adds an authority shows that he has its key: it signs a certificate whose Common Name is this code.</p>
      {code === '' ? (
        <button type="button" class="secondary" onClick={() => void tried.attempt(makeCode)}>
          Make the code
        </button>
      ) : (
        <pre class="payload token">{code}</pre>
      )}
      <Area label="Certificate of the authority, in PEM" value={ca} onInput={setCa} rows={6} isCode fault={tried.faultOf('ca')} />
      <Area
        label="Certificate with the code, in PEM"
        value={verification}
        onInput={setVerification}
        rows={6}
        isCode
        fault={tried.faultOf('verification')}
      />
      <Check label="Its certificates are registered when they come" isChecked={autoRegister} onInput={setAutoRegister} />
      <Check label="They are active then" isChecked={autoActivate} onInput={setAutoActivate} />
      <FormEnd tried={tried} action="Register" />
    </Form>
  );
}
