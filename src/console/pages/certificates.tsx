/**
 * Certificates: which certificates of devices count, and which authorities may sign them.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { NONE, time, yesNo } from '../format.ts';
import { confirmed, Dialog } from '../parts/dialog.tsx';
import { Failure } from '../parts/failure.tsx';
import { Area, Check, Choice, Field, Form, useSettled } from '../parts/fields.tsx';
import { List } from '../parts/list.tsx';
import { attempt, failureText } from '../parts/notices.tsx';
import { Table } from '../parts/table.tsx';
import { mayAs } from '../session.ts';
import { useAsked } from '../use-asked.ts';

interface Certificate {
  readonly fingerprint: string;
  readonly serial: string;
  readonly commonName: string;
  readonly issuerCommonName: string;
  readonly clientId: string | null;
  readonly status: string;
  readonly notAfter: string;
}

interface Authority extends Omit<Certificate, 'clientId'> {
  readonly autoRegister: boolean;
  readonly autoActivate: boolean;
}

const PATH = '/api/v1/certificates';
const AUTHORITIES = `${PATH}/authorities`;

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

function DeviceCertificates(): VNode {
  const [clientId, setClientId] = useState('');
  const [status, setStatus] = useState('');
  const [isAdding, setAdding] = useState(false);
  const [changes, setChanges] = useState(0);
  const changed = (): void => setChanges((value) => value + 1);
  const become = async ({ fingerprint, commonName }: Certificate, to: string): Promise<void> => {
    if (
      to === 'REVOKED' &&
      !(await confirmed('Revoke the certificate?', `${commonName} is disconnected and never let in with it again.`, 'Revoke'))
    )
      return;
    if (
      await attempt(
        () => ask('PUT', at`/api/v1/certificates/${fingerprint}`, { body: { status: to } }),
        `${commonName}: ${to.toLowerCase()}`,
      )
    )
      changed();
  };
  return (
    <section aria-labelledby="device-certificates">
      <div class="heading">
        <h2 id="device-certificates">Certificates of devices</h2>
        {mayAs('admin') && (
          <button type="button" onClick={() => setAdding(true)}>
            Add
          </button>
        )}
      </div>
      <Form label="Search certificates" isInline onSubmit={changed}>
        <Field label="Client ID" type="search" value={clientId} onInput={setClientId} isSearch />
        <Choice
          label="Status"
          value={status}
          options={[
            ['', 'any'],
            ['ACTIVE', 'active'],
            ['INACTIVE', 'inactive'],
            ['PENDING_ACTIVATION', 'pending activation'],
            ['REVOKED', 'revoked'],
          ]}
          onInput={setStatus}
        />
      </Form>
      <List<Certificate>
        path={PATH}
        query={{ clientId: useSettled(clientId), status }}
        what="a registry of certificates"
        caption="Certificates of devices"
        empty="No certificate fits."
        rowKey={({ fingerprint }) => fingerprint}
        changes={changes}
        columns={[
          { title: 'Name', cell: ({ commonName }) => commonName || NONE, isLong: true },
          { title: 'Client ID', cell: (one) => one.clientId ?? 'any', isLong: true },
          { title: 'Status', cell: (one) => <Status status={one.status} /> },
          { title: 'Signed by', cell: ({ issuerCommonName }) => issuerCommonName, isLong: true },
          { title: 'Valid until', cell: ({ notAfter }) => time(notAfter) },
          { title: 'Serial', cell: ({ serial }) => <code>{serial}</code> },
          {
            title: '',
            cell: (one) =>
              mayAs('admin') &&
              one.status !== 'REVOKED' && (
                <span class="buttons">
                  <button
                    type="button"
                    class="small outline"
                    onClick={() => void become(one, one.status === 'ACTIVE' ? 'INACTIVE' : 'ACTIVE')}
                  >
                    {one.status === 'ACTIVE' ? 'Deactivate' : 'Activate'}
                  </button>
                  <button
                    type="button"
                    class="small danger outline"
                    aria-label={`Revoke ${one.commonName}`}
                    onClick={() => void become(one, 'REVOKED')}
                  >
                    Revoke
                  </button>
                </span>
              ),
          },
        ]}
      />
      {isAdding && (
        <Dialog title="New certificate" onClose={() => setAdding(false)}>
          <CertificateForm
            done={() => {
              setAdding(false);
              changed();
            }}
          />
        </Dialog>
      )}
    </section>
  );
}

function CertificateForm({ done }: { readonly done: () => void }): VNode {
  const [certificate, setCertificate] = useState('');
  const [clientId, setClientId] = useState('');
  const [failure, setFailure] = useState('');
  const save = async (): Promise<void> => {
    try {
      await ask('POST', PATH, { body: { certificate, clientId: clientId === '' ? null : clientId } });
      done();
    } catch (error) {
      setFailure(failureText(error));
    }
  };
  return (
    <Form label="Certificate" onSubmit={save}>
      <Area label="Certificate, in PEM" value={certificate} onInput={setCertificate} rows={8} isCode />
      <Field
        label="Client ID"
        value={clientId}
        onInput={setClientId}
        hint="The one that it is good for; empty: any that belongs to no other."
      />
      {failure !== '' && (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      <button type="submit">Register</button>
    </Form>
  );
}

function Authorities(): VNode {
  const { data, error, reload } = useAsked<{ readonly data: readonly Authority[] }>(AUTHORITIES);
  const [isAdding, setAdding] = useState(false);
  const become = async ({ fingerprint, commonName, status }: Authority): Promise<void> => {
    const to = status === 'ACTIVE' ? 'INACTIVE' : 'ACTIVE';
    if (
      await attempt(
        () => ask('PUT', at`/api/v1/certificates/authorities/${fingerprint}`, { body: { status: to } }),
        `${commonName}: ${to.toLowerCase()}`,
      )
    )
      reload();
  };
  return (
    <section aria-labelledby="authorities">
      <div class="heading">
        <h2 id="authorities">Authorities</h2>
        {mayAs('admin') && data !== null && (
          <button type="button" onClick={() => setAdding(true)}>
            Add an authority
          </button>
        )}
      </div>
      {error !== null && <Failure error={error} what="a registry of authorities" />}
      {data !== null && (
        <Table<Authority>
          caption="Authorities"
          rows={data.data}
          rowKey={({ fingerprint }) => fingerprint}
          empty="There is none."
          columns={[
            { title: 'Name', cell: ({ commonName }) => commonName || NONE, isLong: true },
            { title: 'Status', cell: ({ status }) => <Status status={status} /> },
            { title: 'Registers by itself', cell: ({ autoRegister }) => yesNo(autoRegister) },
            { title: 'Activates by itself', cell: ({ autoActivate }) => yesNo(autoActivate) },
            { title: 'Valid until', cell: ({ notAfter }) => time(notAfter) },
            {
              title: '',
              cell: (one) =>
                mayAs('admin') && (
                  <button type="button" class="small outline" onClick={() => void become(one)}>
                    {one.status === 'ACTIVE' ? 'Deactivate' : 'Activate'}
                  </button>
                ),
            },
          ]}
        />
      )}
      {isAdding && (
        <Dialog title="New authority" onClose={() => setAdding(false)}>
          <AuthorityForm
            done={() => {
              setAdding(false);
              reload();
            }}
          />
        </Dialog>
      )}
    </section>
  );
}

function AuthorityForm({ done }: { readonly done: () => void }): VNode {
  const [code, setCode] = useState('');
  const [ca, setCa] = useState('');
  const [verification, setVerification] = useState('');
  const [autoRegister, setAutoRegister] = useState(false);
  const [autoActivate, setAutoActivate] = useState(false);
  const [failure, setFailure] = useState('');
  const tried = async (what: () => Promise<void>): Promise<void> => {
    try {
      setFailure('');
      await what();
    } catch (error) {
      setFailure(failureText(error));
    }
  };
  const makeCode = async (): Promise<void> =>
    setCode((await ask<{ readonly code: string }>('POST', `${AUTHORITIES}/code`, { body: {} })).code);
  const save = async (): Promise<void> => {
    await ask('POST', AUTHORITIES, { body: { ca, verification, autoRegister, autoActivate } });
    done();
  };
  return (
    <Form label="Authority" onSubmit={() => void tried(save)}>
      <p>Whoever adds an authority shows that he has its key: it signs a certificate whose Common Name is this code.</p>
      {code === '' ? (
        <button type="button" class="secondary" onClick={() => void tried(makeCode)}>
          Make the code
        </button>
      ) : (
        <pre class="payload token">{code}</pre>
      )}
      <Area label="Certificate of the authority, in PEM" value={ca} onInput={setCa} rows={6} isCode />
      <Area label="Certificate with the code, in PEM" value={verification} onInput={setVerification} rows={6} isCode />
      <Check label="Its certificates are registered when they come" isChecked={autoRegister} onInput={setAutoRegister} />
      <Check label="They are active then" isChecked={autoActivate} onInput={setAutoActivate} />
      {failure !== '' && (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      <button type="submit">Register</button>
    </Form>
  );
}
