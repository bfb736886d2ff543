/**
 * Certificates: which certificates of devices are good, and who may sign them.
 */
import { z } from 'zod';
import { askSupervisor, done, flagQuery, isoTime, pageOf, pageQuery } from '../desk.ts';
import { type Route, route } from '../route.ts';

const GROUP = 'Certificates';
const PROBLEMS = ['not-found', 'not-implemented', 'unprocessable', 'conflict'] as const;
const STATUSES = ['ACTIVE', 'INACTIVE', 'REVOKED', 'PENDING_ACTIVATION'] as const;
const ID = 'Serial number, or SHA-256 fingerprint.';

const id = z.object({ id: z.string().min(1).max(256).describe(ID) });
const pem = z.string().min(1).max(65_536).describe('In PEM.');
const times = { createdAt: isoTime, updatedAt: isoTime, notBefore: isoTime, notAfter: isoTime };

const certificate = z.object({
  fingerprint: z.string(),
  serial: z.string(),
  issuerKey: z.string(),
  issuerCommonName: z.string(),
  commonName: z.string(),
  organizationalUnit: z.string(),
  clientId: z.string().nullable(),
  sharesClientId: z.boolean(),
  status: z.enum(STATUSES),
  source: z.enum(['JITP', 'API']),
  ...times,
});

/** In examples. */
const PEM = '-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n';

const authority = z.object({
  fingerprint: z.string(),
  serial: z.string(),
  commonName: z.string(),
  issuerCommonName: z.string(),
  pem: z.string(),
  status: z.enum(['ACTIVE', 'INACTIVE']),
  autoRegister: z.boolean(),
  autoActivate: z.boolean(),
  ...times,
});

/** All of them. */
export function certificateRoutes(): readonly Route[] {
  return [...authorityRoutes(), ...deviceCertificateRoutes()];
}

function deviceCertificateRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/certificates',
      name: 'listCertificates',
      group: GROUP,
      summary: 'Registered certificates of devices',
      role: 'viewer',
      query: z.strictObject({
        clientId: z.string().optional(),
        status: z.enum(STATUSES).optional(),
        ca: z.string().optional().describe(`Those of one authority. ${ID}`),
        commonName: z.string().optional(),
        organizationalUnit: z.string().optional(),
        expiresBefore: isoTime.optional(),
        ...pageQuery,
      }),
      problems: ['not-found', 'not-implemented'],
      answers: { 200: { description: 'A page.', schema: pageOf(certificate) } },
      handle: (call, { query }) => {
        const { limit, cursor, expiresBefore, ...same } = query;
        const filter = { ...same, ...(expiresBefore !== undefined && { expiresBefore: Date.parse(expiresBefore) }) };
        return askSupervisor(call, 'certificates/list', { limit, cursor, filter });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/certificates',
      name: 'addCertificate',
      group: GROUP,
      summary: 'Register the certificate of a device, active at once',
      role: 'admin',
      body: z.strictObject({
        certificate: pem,
        clientId: z.string().min(1).nullable().default(null).describe('The one that it is good for; null: any that belongs to no other.'),
        sharesClientId: z.boolean().default(false).describe('Whether another active certificate may have the same client ID.'),
      }),
      problems: PROBLEMS,
      answers: { 201: { description: 'Registered.', schema: certificate } },
      example: { body: { certificate: PEM, clientId: 'pump-7' } },
      handle: (call, { body }) => {
        const { certificate: text, ...facts } = body;
        call.facts = facts;
        return askSupervisor(call, 'certificates/add', { pem: text, ...facts }, (added: object) => ({ status: 201, body: added }));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/certificates/{id}',
      name: 'getCertificate',
      group: GROUP,
      summary: 'One certificate',
      role: 'viewer',
      params: id,
      problems: ['not-found', 'not-implemented', 'conflict'],
      answers: { 200: { description: 'The certificate.', schema: certificate } },
      example: { params: { id: '3F2A' } },
      handle: (call, { params }) => askSupervisor(call, 'certificates/read', params),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/certificates/{id}',
      name: 'changeCertificate',
      group: GROUP,
      summary: 'Activate, deactivate or revoke a certificate',
      description: 'REVOKED is final. The clients of a certificate that is not ACTIVE are disconnected.',
      role: 'admin',
      params: id,
      body: z.strictObject({ status: z.enum(['ACTIVE', 'INACTIVE', 'REVOKED']), sharesClientId: z.boolean().optional() }),
      problems: PROBLEMS,
      answers: { 200: { description: 'The certificate as it is now.', schema: certificate } },
      example: { params: { id: '3F2A' }, body: { status: 'REVOKED' } },
      handle: (call, { params, body }) => {
        call.facts = body;
        return askSupervisor(call, 'certificates/change', { ...params, ...body });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/certificates/{id}',
      name: 'removeCertificate',
      group: GROUP,
      summary: 'Take a certificate out of the registry',
      description: 'Where its authority registers certificates by itself it comes again: revoke it to keep it out.',
      role: 'admin',
      params: id,
      problems: ['not-found', 'not-implemented', 'conflict'],
      answers: {
        200: {
          description: 'Removed.',
          schema: z.object({ comesAgain: z.boolean().describe('Whether it will be registered when it comes again.') }),
        },
      },
      example: { params: { id: '3F2A' } },
      handle: (call, { params }) => askSupervisor(call, 'certificates/remove', params),
    }),
  ];
}

function authorityRoutes(): readonly Route[] {
  const flags = { autoRegister: z.boolean(), autoActivate: z.boolean() };
  return [
    route({
      method: 'GET',
      path: '/api/v1/certificates/authorities',
      name: 'listAuthorities',
      group: GROUP,
      summary: 'Registered authorities, which sign certificates of devices',
      role: 'viewer',
      problems: ['not-implemented'],
      answers: { 200: { description: 'All of them.', schema: z.object({ data: z.array(authority) }) } },
      handle: (call) => askSupervisor(call, 'authorities/list', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/certificates/authorities/code',
      name: 'makeAuthorityCode',
      group: GROUP,
      summary: 'Make the code by which the owner of an authority shows that he has its key',
      description: 'It counts once, for a day; the one before counts no more.',
      role: 'admin',
      problems: ['not-implemented'],
      answers: { 201: { description: 'The code.', schema: z.object({ code: z.string(), expiresAt: isoTime }) } },
      handle: (call) => askSupervisor(call, 'authorities/code', {}, (code: object) => ({ status: 201, body: code })),
    }),
    route({
      method: 'POST',
      path: '/api/v1/certificates/authorities',
      name: 'addAuthority',
      group: GROUP,
      summary: 'Register an authority',
      role: 'admin',
      body: z.strictObject({
        ca: pem,
        verification: pem.describe('A certificate that it has signed, with the code as Common Name, in PEM.'),
        autoRegister: flags.autoRegister.default(false).describe('Whether its certificates are registered when they come.'),
        autoActivate: flags.autoActivate.default(false).describe('Whether they are active then.'),
        isActive: z.boolean().default(true),
      }),
      problems: PROBLEMS,
      answers: { 201: { description: 'Registered.', schema: authority } },
      example: { body: { ca: PEM, verification: PEM } },
      handle: (call, { body }) => {
        const { ca: _ca, verification: _verification, ...facts } = body;
        call.facts = facts;
        return askSupervisor(call, 'authorities/add', body, (added: object) => ({ status: 201, body: added }));
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/certificates/authorities/{id}',
      name: 'changeAuthority',
      group: GROUP,
      summary: 'Activate or deactivate an authority',
      description: 'What is not written stays. Clients with certificates of an authority that is not ACTIVE are disconnected.',
      role: 'admin',
      params: id,
      body: z.strictObject({
        status: z.enum(['ACTIVE', 'INACTIVE']).optional(),
        autoRegister: flags.autoRegister.optional(),
        autoActivate: flags.autoActivate.optional(),
      }),
      problems: PROBLEMS,
      answers: { 200: { description: 'The authority as it is now.', schema: authority } },
      example: { params: { id: '3F2A' }, body: { status: 'INACTIVE' } },
      handle: (call, { params, body }) => {
        call.facts = body;
        const to = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
        return askSupervisor(call, 'authorities/change', { ...params, to });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/certificates/authorities/{id}',
      name: 'removeAuthority',
      group: GROUP,
      summary: 'Take an authority out of the registry',
      role: 'admin',
      params: id,
      query: z.strictObject({ withCertificates: flagQuery.describe('Also the certificates that it has signed.') }),
      problems: ['not-found', 'not-implemented', 'conflict'],
      answers: { 204: { description: 'Removed.' } },
      example: { params: { id: '3F2A' }, query: { withCertificates: 'true' } },
      handle: (call, { params, query }) =>
        askSupervisor(call, 'authorities/remove', { ...params, withDevices: query.withCertificates }, done),
    }),
  ];
}
