/**
 * A client as the API shows it.
 */

export interface SubscriptionFacts {
  readonly clientId?: string;
  readonly filter: string;
  readonly qos: number;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: number;
  readonly identifier?: number | null;
  readonly group?: string | null;
}

export interface ClientFacts {
  readonly clientId: string;
  readonly username?: string | null;
  readonly state: 'connected' | 'disconnected';
  readonly address?: string | null;
  readonly listener?: string | number | null;
  readonly protocol?: number;
  readonly keepAliveSeconds?: number | null;
  readonly createdAt?: string | null;
  readonly connectedAt?: string | null;
  readonly disconnectedAt?: string | null;
  readonly sessionExpirySeconds?: number | null;
  readonly subscriptions?: number;
  readonly inflight?: number;
  readonly queued?: number;
  readonly queuedBytes?: number;
  readonly shard: number;
}

export interface ClientDetail extends ClientFacts {
  readonly will?: (Readonly<Record<string, unknown>> & { readonly payloadBase64?: string }) | null;
  readonly cleanStart?: boolean | null;
  readonly isPersistent?: boolean;
  readonly isStored?: boolean;
  readonly outboundBytes?: number | null;
  readonly isThrottled?: boolean | null;
  readonly authenticator?: string | null;
  readonly isSuperuser?: boolean | null;
  readonly subscriptionList?: readonly SubscriptionFacts[];
  readonly attributes?: Readonly<Record<string, string>>;
  readonly receiveMaximum?: number;
  readonly packetBytesMax?: number | null;
  readonly transport?: string | null;
}
