/**
 * Events: what happens to clients, sessions and messages, published as JSON on `$events/…` at QoS 0.
 *
 * An event costs one comparison while nobody subscribes to it. Its names and fields are those of the hosted product and of brokers before it. Events about
 * `$` topics are never made, so events cannot breed events; and where too many wait to be published, further ones are not made.
 */
import { readText, utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import type { MessageView } from '../protocol/publish.ts';
import type { Connection } from './connection.ts';
import { ownMessage } from './receipt.ts';
import { routeOf } from './route.ts';
import type { ClientSession, Shard } from './shard.ts';
import type { SuspicionFacts } from './suspicion.ts';

const NO_PROPERTIES = new Uint8Array(0);
const PENDING_MAX = 10_000;
const DOLLAR = 0x24;

export type CertificateEvent = 'certificate_registered' | 'certificate_rejected';
/** What the supervisor has to say. */
export type SupervisorEvent = CertificateEvent | 'alarm_raised' | 'alarm_cleared';

export class Events {
  private readonly shard: Shard;
  private readonly topics: Map<string, Uint8Array>;
  private wantedVersion: number;
  private wantsDropped: boolean;

  constructor(shard: Shard) {
    this.shard = shard;
    this.topics = new Map();
    this.wantedVersion = -1;
    this.wantsDropped = false;
  }

  /** Whether anyone wants to hear of drops, by subscription or by a trace: asked before the facts of a drop are put into words. */
  get isWanted(): boolean {
    return this.shard.tracing !== null || this.wantsDrops();
  }

  private wantsDrops(): boolean {
    if (!this.shard.settings.mqtt.events) return false;
    const version = this.shard.subscriptions.version + this.shard.interest.version;
    if (version !== this.wantedVersion) {
      this.wantedVersion = version;
      this.wantsDropped = this.hasSubscribers('message_dropped');
    }
    return this.wantsDropped;
  }

  clientConnected(session: ClientSession, connection: Connection, cleanStart: boolean): void {
    const { now } = this.shard.timers;
    this.shard.recentEvents?.connection(now, session.clientId, 'connected', connection.peer.name, '');
    if (!this.hasSubscribers('client_connected')) return;
    this.publish('client_connected', {
      event: 'client.connected',
      clientid: session.clientId,
      username: session.username,
      peername: connection.peer.name,
      proto_ver: session.version,
      keepalive: connection.keepAliveSeconds,
      clean_start: cleanStart,
      connected_at: now,
      node: this.shard.settings.node,
      timestamp: now,
    });
  }

  clientDisconnected(session: ClientSession, connection: Connection, reason: string): void {
    const { now } = this.shard.timers;
    this.shard.recentEvents?.connection(now, session.clientId, 'disconnected', connection.peer.name, reason);
    if (!this.hasSubscribers('client_disconnected')) return;
    this.publish('client_disconnected', {
      event: 'client.disconnected',
      clientid: session.clientId,
      username: session.username,
      peername: connection.peer.name,
      proto_ver: session.version,
      reason,
      disconnected_at: now,
      node: this.shard.settings.node,
      timestamp: now,
    });
  }

  sessionSubscribed(session: ClientSession, topic: string, qos: number): void {
    this.shard.recentEvents?.subscription(this.shard.timers.now, session.clientId, 'subscribed', topic);
    if (!this.hasSubscribers('session_subscribed')) return;
    this.publish('session_subscribed', {
      event: 'session.subscribed',
      clientid: session.clientId,
      username: session.username,
      topic,
      qos,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  sessionUnsubscribed(session: ClientSession, topic: string): void {
    this.shard.recentEvents?.subscription(this.shard.timers.now, session.clientId, 'unsubscribed', topic);
    if (!this.hasSubscribers('session_unsubscribed')) return;
    this.publish('session_unsubscribed', {
      event: 'session.unsubscribed',
      clientid: session.clientId,
      username: session.username,
      topic,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  /** @param clientId receiver that does not get the message */
  messageDropped(view: MessageView, clientId: string, reason: string): void {
    if (this.shard.tracing !== null) this.shard.tracing.dropped(view, clientId, reason);
    if (!this.wantsDrops() || view.topicBytes[view.topicAt] === DOLLAR) return;
    this.publish('message_dropped', {
      event: 'message.dropped',
      clientid: clientId,
      topic: readText(view.topicBytes, view.topicAt, view.topicEnd),
      qos: view.qos,
      reason,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  clientSuspected(session: ClientSession, facts: SuspicionFacts): void {
    if (!this.hasSubscribers('client_suspected')) return;
    this.publish('client_suspected', {
      event: 'client.suspected',
      clientid: session.clientId,
      username: session.username,
      ...facts,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  /** Something of the whole broker: what became of a certificate of a device, an alarm. */
  ofSupervisor(name: SupervisorEvent, facts: object): void {
    if (!this.hasSubscribers(name)) return;
    this.publish(name, {
      event: name.replace('_', '.'),
      ...facts,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  /** The store takes nothing: what needs it is refused. */
  storeDegraded(reason: string): void {
    if (!this.hasSubscribers('store_degraded')) return;
    this.publish('store_degraded', {
      event: 'store.degraded',
      shard: this.shard.index,
      reason,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  storeRecovered(): void {
    if (!this.hasSubscribers('store_recovered')) return;
    this.publish('store_recovered', {
      event: 'store.recovered',
      shard: this.shard.index,
      node: this.shard.settings.node,
      timestamp: this.shard.timers.now,
    });
  }

  private topicOf(name: string): Uint8Array {
    let topic = this.topics.get(name);
    if (topic === undefined) {
      topic = utf8Bytes(`$events/${name}`);
      this.topics.set(name, topic);
    }
    return topic;
  }

  private hasSubscribers(name: string): boolean {
    if (!this.shard.settings.mqtt.events) return false;
    const topic = this.topicOf(name);
    const route = routeOf(this.shard, topic, 0, topic.length, hash32(topic, 0, topic.length));
    return route.peerMask !== 0 || route.local.matches.length > 0 || route.shares.length > 0;
  }

  private publish(name: string, facts: object): void {
    if (this.shard.outbox.count >= PENDING_MAX) return;
    this.shard.publishLater(ownMessage(this.topicOf(name), NO_PROPERTIES, utf8Bytes(JSON.stringify(facts)), 0, false));
  }
}
