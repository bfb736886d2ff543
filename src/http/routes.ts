/**
 * The table of routes. What is not in it is not served; the server, `/openapi.json`, the manual and the tests read it.
 */
import { answerTrials } from '../shard/access-trial.ts';
import { handleClientQuestions } from '../shard/client-questions.ts';
import type { Shard } from '../shard/shard.ts';
import type { ApiKey } from './api-key.ts';
import { HttpServer } from './http-server.ts';
import { handleIdempotency } from './idempotency.ts';
import { answerManagement } from './management/answers.ts';
import type { Route } from './route.ts';
import { Router } from './router.ts';
import { aboutRoutes } from './routes/about.ts';
import { accessRoutes } from './routes/access.ts';
import { alarmRoutes } from './routes/alarms.ts';
import { authenticatorRoutes } from './routes/authenticators.ts';
import { brokerRoutes } from './routes/broker.ts';
import { certificateRoutes } from './routes/certificates.ts';
import { clientLinkRoutes } from './routes/client-link.ts';
import { clientMessageRoutes } from './routes/client-messages.ts';
import { clientRoutes } from './routes/clients.ts';
import { consoleRoutes } from './routes/console.ts';
import { deviceRoutes } from './routes/devices.ts';
import { messageRoutes } from './routes/messages.ts';
import { handleMetricsAsks, metricsRoutes } from './routes/metrics.ts';
import { policyRoutes } from './routes/policies.ts';
import { publishRoutes } from './routes/publish.ts';
import { retainedRoutes } from './routes/retained.ts';
import { stateRoutes } from './routes/state.ts';
import { subscribeRoutes } from './routes/subscribe.ts';
import { subscriptionRoutes } from './routes/subscriptions.ts';
import { topicRoutes } from './routes/topics.ts';
import { traceRoutes } from './routes/traces.ts';
import { userRoutes } from './routes/users.ts';

/** Every route. @param isMetricsPublic whether `/metrics` needs no credentials */
export function allRoutes(isMetricsPublic: boolean = false): readonly Route[] {
  return [
    ...aboutRoutes(() => allRoutes(isMetricsPublic)),
    ...publishRoutes,
    ...clientMessageRoutes,
    ...clientLinkRoutes,
    ...subscribeRoutes,
    ...userRoutes(),
    ...policyRoutes(),
    ...deviceRoutes(),
    ...certificateRoutes(),
    ...authenticatorRoutes(),
    ...accessRoutes(),
    ...clientRoutes(),
    ...subscriptionRoutes(),
    ...retainedRoutes(),
    ...topicRoutes(),
    ...stateRoutes(),
    ...brokerRoutes(),
    ...metricsRoutes(isMetricsPublic),
    ...alarmRoutes(),
    ...messageRoutes,
    ...traceRoutes,
    ...consoleRoutes(),
  ];
}

/** The HTTP door of one shard. @param keys that may be used, for now */
export function createHttpServer(shard: Shard, keys: readonly ApiKey[]): HttpServer {
  handleIdempotency(shard);
  handleClientQuestions(shard);
  answerTrials(shard);
  answerManagement(shard);
  handleMetricsAsks(shard);
  return new HttpServer(shard, (isMetricsPublic) => new Router(allRoutes(isMetricsPublic)), keys);
}
