/**
 * Devices: clients with secrets of their own, in the file of the `devices` authenticator.
 */
import { z } from 'zod';
import type { Call } from '../call.ts';
import { askSupervisor, authenticatorQuery, done, flagQuery, pageOf, pageQuery } from '../desk.ts';
import { Problem } from '../problem.ts';
import { mayAs } from '../role.ts';
import { type Route, route } from '../route.ts';

const GROUP = 'Devices';
const PROBLEMS = ['not-found', 'not-implemented', 'unprocessable', 'conflict'] as const;

const place = { authenticator: authenticatorQuery };
const keys = flagQuery.describe('Whether to show the keys; for admins.');
const id = z.object({ deviceId: z.string().min(1).max(1024) });
const key = z.string().max(256).optional();

const facts = {
  isEnabled: z.boolean().optional().describe('False: as if it were not there.'),
  attributes: z.record(z.string(), z.string()).optional().describe('What statements may ask for.'),
  propagatingProperties: z
    .array(z.strictObject({ key: z.string(), value: z.string() }))
    .max(16)
    .optional()
    .describe('User Properties that each of its messages carries.'),
  primaryKey: key.describe('Base64 of 32 to 128 bytes.'),
  secondaryKey: key.describe('The same. Either counts.'),
};

const device = z.object({
  deviceId: z.string(),
  isEnabled: z.boolean(),
  primaryKey: z.string().optional(),
  secondaryKey: z.string().optional(),
  propagatingProperties: z.array(z.object({ key: z.string(), value: z.string() })),
  attributes: z.record(z.string(), z.string()),
  createdAt: z.string(),
});

/** Longest list of an import. */
const IMPORT_BYTES_MAX = 8 * 1024 * 1024;

const imported = z.object({
  added: z.int(),
  replaced: z.int(),
  refused: z.int().describe('Rows that were passed over.'),
  rows: z.array(
    z.object({
      line: z.int().describe('Line of the body, from 1; of a list its place.'),
      deviceId: z.string(),
      outcome: z.enum(['added', 'replaced', 'refused']),
      problem: z.string().optional().describe('Why it was refused.'),
      primaryKey: z.string().optional().describe('Where it was made.'),
      secondaryKey: z.string().optional().describe('Where it was made.'),
    }),
  ),
});

/** What the supervisor says of an import. */
interface ImportTold {
  readonly counts: Readonly<Record<string, number>>;
  /** As JSON already: it may be megabytes. */
  readonly answer: Uint8Array;
}

/** @throws Problem */
function checkKeys(call: Call, wantsKeys: boolean): void {
  if (wantsKeys && !mayAs(call.caller!.role, 'admin')) throw new Problem('forbidden', 'only admins see keys');
}

/** All of them. */
export function deviceRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/devices',
      name: 'listDevices',
      group: GROUP,
      summary: 'Devices, in the order of their IDs',
      role: 'viewer',
      query: z.strictObject({ ...place, keys, prefix: z.string().max(1024).default('').describe('Beginning of the IDs.'), ...pageQuery }),
      problems: ['not-found', 'not-implemented'],
      answers: { 200: { description: 'A page.', schema: pageOf(device) } },
      handle: (call, { query }) => {
        checkKeys(call, query.keys);
        return askSupervisor(call, 'devices/list', query);
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/devices',
      name: 'addDevice',
      group: GROUP,
      summary: 'Add a device',
      description: 'Keys that are not written are made. The answer has them.',
      role: 'admin',
      query: z.strictObject(place),
      body: z.strictObject({ deviceId: z.string().min(1).max(1024), ...facts }),
      problems: PROBLEMS,
      answers: { 201: { description: 'Added; may log in.', schema: device } },
      example: { body: { deviceId: 'pump-7', attributes: { group: 'a' } } },
      handle: (call, { query, body }) => {
        const { deviceId, attributes } = body;
        call.facts = { deviceId, attributes };
        return askSupervisor(call, 'devices/add', { ...query, fields: body }, (added: object) => ({
          status: 201,
          body: added,
          headers: [['Location', `/api/v1/devices/${encodeURIComponent(deviceId)}`]],
        }));
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/device-imports',
      name: 'importDevices',
      group: GROUP,
      summary: 'Add many devices, or replace them, in one write',
      description: [
        'The body is what `onehop device import` takes: CSV with names in its first line (`deviceId`, `isEnabled`, `primaryKey`, `secondaryKey`, `property.KEY`, `attribute.NAME`), a line of JSON for each device, or one list of JSON.',
        'Keys that are missing are made, and are in the answer, which has a result for each row. A row that is wrong, or whose device is there already, is enough that nothing is changed; with `skipWrong` it is passed over.',
        `At most 20,000 rows of together ${IMPORT_BYTES_MAX / 1024 / 1024} MB.`,
      ].join('\n\n'),
      role: 'admin',
      query: z.strictObject({
        ...place,
        replace: flagQuery.describe('A device that is there already becomes what its row says; it keeps its keys where the row has none.'),
        skipWrong: flagQuery.describe('Rows that are wrong are passed over, and the others taken.'),
      }),
      body: 'bytes',
      bodyBytesMax: IMPORT_BYTES_MAX,
      problems: [...PROBLEMS],
      answers: { 200: { description: 'What has become of each row; those that were taken may log in.', schema: imported } },
      example: { query: { replace: 'true' }, body: 'deviceId,property.site,attribute.group\npump-7,hall-2,a\npump-8,hall-3,a\n' },
      handle: (call, { query, body }) => {
        const { replace: replaces, skipWrong: skipsWrong, authenticator } = query;
        // Shared memory: it goes through the supervisor to the thread that reads it, and nobody copies it again.
        const text = new Uint8Array(new SharedArrayBuffer(body.length));
        text.set(body);
        return askSupervisor(call, 'devices/import', { authenticator, text, replaces, skipsWrong }, (told: ImportTold) => {
          call.facts = { ...told.counts };
          return { status: 200, body: told.answer, type: 'application/json' };
        });
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/devices/{deviceId}',
      name: 'getDevice',
      group: GROUP,
      summary: 'One device',
      role: 'viewer',
      params: id,
      query: z.strictObject({ ...place, keys }),
      problems: ['not-found', 'not-implemented'],
      answers: { 200: { description: 'The device.', schema: device } },
      example: { params: { deviceId: 'sensor-1' } },
      handle: (call, { params, query }) => {
        checkKeys(call, query.keys);
        return askSupervisor(call, 'devices/read', { ...query, ...params });
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/devices/{deviceId}',
      name: 'changeDevice',
      group: GROUP,
      summary: 'Change, enable or disable a device',
      description: 'What is not written stays. A device that is disabled, or has other keys or attributes, is disconnected.',
      role: 'admin',
      params: id,
      query: z.strictObject(place),
      body: z.strictObject(facts),
      problems: PROBLEMS,
      answers: { 200: { description: 'The device as it is now.', schema: device } },
      example: { params: { deviceId: 'pump-7' }, body: { isEnabled: false } },
      handle: (call, { params, query, body }) => {
        const { primaryKey, secondaryKey, ...shown } = body;
        call.facts = { ...shown, keys: primaryKey === undefined && secondaryKey === undefined ? undefined : 'other ones' };
        const fields = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
        return askSupervisor(call, 'devices/change', { ...query, ...params, fields, rotate: [] });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/devices/{deviceId}/rotate',
      name: 'rotateDeviceKeys',
      group: GROUP,
      summary: 'Give a device another key in the place of one, or of both',
      description: 'The other key counts all the time, so the device can change over without a break.',
      role: 'admin',
      params: id,
      query: z.strictObject(place),
      body: z.strictObject({ key: z.enum(['primary', 'secondary', 'both']).default('primary') }),
      problems: PROBLEMS,
      answers: { 200: { description: 'The device with the keys that were made.', schema: device } },
      example: { params: { deviceId: 'pump-7' }, body: { key: 'secondary' } },
      handle: (call, { params, query, body }) => {
        call.facts = { key: body.key };
        const rotate = body.key === 'both' ? ['primary', 'secondary'] : [body.key];
        return askSupervisor(call, 'devices/change', { ...query, ...params, fields: {}, rotate });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/devices/{deviceId}',
      name: 'removeDevice',
      group: GROUP,
      summary: 'Remove a device',
      description: 'It is disconnected.',
      role: 'admin',
      params: id,
      query: z.strictObject(place),
      problems: ['not-found', 'not-implemented'],
      answers: { 204: { description: 'Removed.' } },
      example: { params: { deviceId: 'sensor-1' } },
      handle: (call, { params, query }) => askSupervisor(call, 'devices/remove', { ...query, ...params }, done),
    }),
  ];
}
