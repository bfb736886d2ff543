/**
 * Devices: the registry of those that log in under their own client ID with their own keys.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ask, at } from '../api.ts';
import { any, isolated, time, yesNo } from '../format.ts';
import { attributesFault, PAIRS_HINT, pairsText, readPairs } from '../pairs.ts';
import { confirmed } from '../parts/dialog.tsx';
import { Area, Check, Field } from '../parts/fields.tsx';
import { Form, FormEnd, useTried } from '../parts/form.tsx';
import { say } from '../parts/notices.tsx';
import { Records } from '../parts/records.tsx';
import { Secret } from '../parts/secret.tsx';
import { useSearch } from '../use-search.ts';

interface Device {
  readonly deviceId: string;
  readonly isEnabled: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  readonly createdAt: string;
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
}

export function DevicesPage(): VNode {
  const prefix = useSearch('prefix');
  return (
    <Records<Device>
      title="Devices"
      path="/api/v1/devices"
      query={{ prefix: prefix.settled }}
      one="device"
      many="devices"
      filter={
        <Form label="Search devices" isInline>
          <Field label="Device ID begins with" type="search" value={prefix.value} onInput={prefix.set} isSearch />
        </Form>
      }
      nameOf={({ deviceId }) => deviceId}
      columns={[
        { title: 'Device ID', cell: ({ deviceId }) => deviceId, isLong: true },
        { title: 'Enabled', cell: ({ isEnabled }) => yesNo(isEnabled) },
        { title: 'Attributes', cell: ({ attributes }) => any(attributes), isLong: true },
        { title: 'Since', cell: ({ createdAt }) => time(createdAt) },
      ]}
      removal={{
        path: ({ deviceId }) => at`/api/v1/devices/${deviceId}`,
        text: ({ deviceId }) => `${isolated(deviceId)} cannot log in any more, and its connection ends.`,
        done: ({ deviceId }) => `${isolated(deviceId)} is removed`,
      }}
      pathOf={({ deviceId }) => at`/api/v1/devices/${deviceId}`}
      form={(device, done) => <DeviceForm device={device} done={done} />}
    />
  );
}

function DeviceForm({ device, done }: { readonly device: Device | null; readonly done: () => void }): VNode {
  const [deviceId, setDeviceId] = useState(device?.deviceId ?? '');
  const [isEnabled, setEnabled] = useState(device?.isEnabled ?? true);
  const [attributes, setAttributes] = useState(pairsText(device?.attributes));
  const [made, setMade] = useState<Device | null>(null);
  const tried = useTried([...(device === null ? ['deviceId'] : []), 'attributes']);
  const path = at`/api/v1/devices/${deviceId}`;
  // Only what was changed here: the rest stays as somebody else may be changing it.
  const facts = {
    ...(isEnabled !== (device?.isEnabled ?? true) && { isEnabled }),
    ...(attributes !== pairsText(device?.attributes) && { attributes: readPairs(attributes) }),
  };
  const save = async (): Promise<void> => {
    if (device === null) setMade(await ask<Device>('POST', '/api/v1/devices', { body: { deviceId, ...facts } }));
    else {
      await ask('PUT', path, { body: facts });
      say(`${isolated(deviceId)} is saved`);
      done();
    }
  };
  const submit = (): void => {
    const wrong = attributesFault(attributes, device?.attributes);
    if (wrong === '') void tried.attempt(save);
    else tried.fail(wrong, 'attributes');
  };
  const rotate = async (key: 'primary' | 'secondary'): Promise<void> => {
    const unsaved = Object.keys(facts).length === 0 ? '' : ' What you have changed in the form is not saved.';
    const text = `The ${key} key of ${isolated(deviceId)} counts no longer, and whoever has logged in with it is disconnected. The other key stays.${unsaved}`;
    if (!(await confirmed(`Make another ${key} key?`, text, `Make another ${key} key`))) return;
    await tried.attempt(async () => setMade(await ask<Device>('POST', `${path}/rotate`, { body: { key } })));
  };
  if (made !== null) {
    // After a rotation there is one.
    const secrets = [
      ['Primary key', made.primaryKey ?? ''],
      ['Secondary key', made.secondaryKey ?? ''],
    ].filter(([, key]) => key !== '') as [string, string][];
    return <Secret text="Either key proves the device. Put one into it." secrets={secrets} done={done} />;
  }
  return (
    <Form label="Device" onSubmit={submit}>
      {device === null && <Field label="Device ID" value={deviceId} onInput={setDeviceId} required fault={tried.faultOf('deviceId')} />}
      <Check label="Enabled" isChecked={isEnabled} onInput={setEnabled} />
      <Area label="Attributes" value={attributes} onInput={setAttributes} hint={PAIRS_HINT} isCode fault={tried.faultOf('attributes')} />
      <FormEnd tried={tried} action="Save" />
      {device !== null && (
        <p class="actions">
          {(['primary', 'secondary'] as const).map((key) => (
            <button key={key} type="button" class="small secondary" onClick={() => void rotate(key)}>
              Another {key} key
            </button>
          ))}
        </p>
      )}
    </Form>
  );
}
