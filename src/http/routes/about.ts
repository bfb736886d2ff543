/**
 * What the broker says of itself and of the API: health for whoever balances load, who is asking, and the OpenAPI document.
 */
import { z } from 'zod';
import { VERSION } from '../../base/version.ts';
import { openApiDocument } from '../open-api.ts';
import { ROLES } from '../role.ts';
import { type Route, route } from '../route.ts';

const GROUP = 'Health and documents';

/** Made once, when it is first asked for. */
let document: string | null = null;

/** @param all gives every route, these among them */
export function aboutRoutes(all: () => readonly Route[]): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/healthz',
      name: 'getHealth',
      group: GROUP,
      summary: 'Whether the process lives',
      description: 'Answers as long as one shard does. For a liveness probe.',
      role: null,
      ignoresQuery: true,
      answers: { 200: { description: 'It lives.', schema: z.object({ status: z.literal('ok') }) } },
      handle: () => ({ status: 200, body: { status: 'ok' } }),
    }),
    route({
      method: 'GET',
      path: '/readyz',
      name: 'getReadiness',
      group: GROUP,
      summary: 'Whether clients should be sent here',
      description: 'For a readiness probe and for load balancers: 503 while the broker starts or stops, or while its store takes nothing.',
      role: null,
      ignoresQuery: true,
      problems: ['unavailable', 'store-degraded'],
      answers: { 200: { description: 'Send them.', schema: z.object({ status: z.literal('ok'), shards: z.int(), version: z.string() }) } },
      handle: ({ shard }) => {
        if (!shard.isServing) return { status: 503, body: { status: 'starting' } };
        if (shard.journal.isDegraded) return { status: 503, body: { status: 'store-degraded' } };
        return { status: 200, body: { status: 'ok', shards: shard.shards, version: VERSION } };
      },
    }),
    route({
      method: 'GET',
      path: '/openapi.json',
      name: 'getOpenApi',
      group: GROUP,
      summary: 'This API as an OpenAPI 3.1 document',
      role: null,
      ignoresQuery: true,
      answers: { 200: { description: 'The document.', schema: z.object({}).loose() } },
      handle: () => {
        document ??= JSON.stringify(openApiDocument(all(), VERSION));
        return { status: 200, body: document, type: 'application/json' };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/me',
      name: 'getMe',
      group: GROUP,
      summary: 'Who is asking, and with which role',
      role: 'service',
      answers: {
        200: {
          description: 'The caller.',
          schema: z.object({ name: z.string(), role: z.enum(ROLES), clientId: z.string(), node: z.string(), version: z.string() }),
        },
      },
      handle: ({ caller, shard }) => ({
        status: 200,
        body: {
          name: caller!.name,
          role: caller!.role,
          clientId: caller!.connection.session!.clientId,
          node: shard.settings.node,
          version: VERSION,
        },
      }),
    }),
  ];
}
