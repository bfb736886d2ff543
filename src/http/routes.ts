/**
 * The table of routes. What is not in it is not served; the server, `/openapi.json`, the manual and the tests read it.
 */
import { handleClientQuestions } from '../shard/client-questions.ts';
import type { Shard } from '../shard/shard.ts';
import type { ApiKey } from './api-key.ts';
import { HttpServer } from './http-server.ts';
import { handleIdempotency } from './idempotency.ts';
import type { Route } from './route.ts';
import { Router } from './router.ts';
import { aboutRoutes } from './routes/about.ts';
import { alarmRoutes } from './routes/alarms.ts';
import { clientLinkRoutes } from './routes/client-link.ts';
import { clientMessageRoutes } from './routes/client-messages.ts';
import { handleMetricsAsks, metricsRoutes } from './routes/metrics.ts';
import { publishRoutes } from './routes/publish.ts';
import { subscribeRoutes } from './routes/subscribe.ts';

/** Every route. @param isMetricsPublic whether `/metrics` needs no credentials */
export function allRoutes(isMetricsPublic: boolean = false): readonly Route[] {
  return [
    ...aboutRoutes(() => allRoutes(isMetricsPublic)),
    ...publishRoutes,
    ...clientMessageRoutes,
    ...clientLinkRoutes,
    ...subscribeRoutes,
    ...metricsRoutes(isMetricsPublic),
    ...alarmRoutes(),
  ];
}

/** The HTTP door of one shard. @param keys that may be used, for now */
export function createHttpServer(shard: Shard, keys: readonly ApiKey[]): HttpServer {
  handleIdempotency(shard);
  handleClientQuestions(shard);
  handleMetricsAsks(shard);
  return new HttpServer(shard, new Router(allRoutes(shard.settings.metrics.public)), keys);
}
