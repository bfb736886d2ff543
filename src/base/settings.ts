/**
 * Every setting of the broker, resolved: defaults filled in, units fixed, ready to be copied to the shards.
 *
 * This file only declares the shape. `server/config.ts` owns the schema, the defaults, the text for the manual and the errors; everything below
 * reads a `Settings` object that never changes while the process lives. Units are in the names: Bytes, Seconds, Milliseconds; a bare number is a count.
 */

/** How a Shared Subscription picks the member that gets a message. */
export type SharedStrategy = 'round-robin' | 'random' | 'sticky' | 'hash-client-id' | 'hash-topic';

/** What a full session queue does with a new message: refuse it (the sender is told), or drop the oldest to make room. */
export type QueueOverflow = 'refuse' | 'drop-oldest';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface TlsSettings {
  /** Files in PEM, absolute. A client that names a server gets the first one that is made out to the name, others the first of all. */
  readonly certificates: readonly { readonly chain: string; readonly key: string }[];
  readonly verifyClient: 'none' | 'optional' | 'required';
  /** File of roots for client certificates, absolute; '': none. */
  readonly ca: string;
  /** File of revoked client certificates, absolute; '': none. */
  readonly crl: string;
  readonly minVersion: '1.2' | '1.3';
  /** OpenSSL's words; '': Node's choice. */
  readonly ciphers: string;
}

export interface WebSocketSettings {
  readonly path: string;
  /** Origins of pages that may connect, or all. */
  readonly origins: '*' | readonly string[];
  readonly compression: boolean;
}

export interface QuicSettings {
  readonly idleTimeoutMilliseconds: number;
  readonly congestionControl: 'cubic' | 'reno' | 'bbr';
  readonly retry: 'auto' | 'always' | 'never';
  readonly earlyData: boolean;
  /** Whether more than CONNECT is acted on before the handshake is confirmed. */
  readonly earlyPublish: boolean;
  /** Streams that a client may have open at a time, its control stream among them. */
  readonly streams: number;
}

/** What a listener speaks below MQTT. */
export type ListenerType = 'tcp' | 'tls' | 'ws' | 'wss' | 'quic' | 'unix' | 'http' | 'https';

export interface ListenerSettings {
  readonly type: ListenerType;
  /** Address without brackets; `::` listens dual stack. '' for a Unix socket. */
  readonly host: string;
  /** 0 asks the kernel for a free port. */
  readonly port: number;
  /** Of a Unix socket; '' for all others. */
  readonly path: string;
  /** Connections of this listener, in all shards. */
  readonly connections: number;
  /** New connections per second, in all shards; 0: no limit. */
  readonly connectRate: number;
  /** From accept to a whole CONNECT. */
  readonly handshakeTimeoutMilliseconds: number;
  /** Largest packet that comes in. */
  readonly packetBytes: number;
  /** Addresses and networks (`address/bits`); an empty `allow` allows all. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly proxyProtocol: 'none' | 'v1' | 'v2' | 'any';
  readonly trustedProxies: readonly string[];
  /** Null for listeners without TLS. */
  readonly tls: TlsSettings | null;
  /** Null but for `ws` and `wss`. */
  readonly webSocket: WebSocketSettings | null;
  /** Null but for `quic`. */
  readonly quic: QuicSettings | null;
}

export interface MqttSettings {
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly wildcardSubscriptionAvailable: boolean;
  readonly subscriptionIdentifierAvailable: boolean;
  readonly sharedSubscriptionAvailable: boolean;
  readonly sharedStrategy: SharedStrategy;
  /** How many Topic Aliases a v5 client may use towards the broker; 0 forbids them. */
  readonly topicAliasMaximum: number;
  /** How many Topic Aliases the broker uses towards a v5 client that allows them; the smaller of both counts. 0 uses none. */
  readonly outboundTopicAliasMaximum: number;
  /** Bytes of topics that one connection's aliases may stand for, in each direction. */
  readonly topicAliasBytes: number;
  /** Receive Maximum announced to v5 clients: QoS 1 and 2 PUBLISH packets that a client may have unacknowledged. */
  readonly receiveMaximum: number;
  /** Longest Keep Alive; a longer one (or none) is answered with Server Keep Alive. 0: whatever the client asks. */
  readonly serverKeepAliveSeconds: number;
  /** Sent as Response Information to a v5 client that asks; `{clientId}` is replaced. Empty: none. */
  readonly responseInformation: string;
  /** How often `$SYS/broker/…` is published; 0: never. */
  readonly sysIntervalSeconds: number;
  /** Whether `$events/…` is published. */
  readonly events: boolean;
}

export interface LimitSettings {
  /** Largest MQTT packet, in and out, fixed header included. */
  readonly packetBytes: number;
  readonly topicLevels: number;
  readonly clientIdBytes: number;
  readonly subscriptionsPerClient: number;
  /** QoS 1 and 2 messages sent to a client and not yet acknowledged; the client's Receive Maximum may lower it. */
  readonly inflight: number;
  /** Messages that wait in one session for its window or its return. */
  readonly queueMessages: number;
  /** Bytes that wait in one session. */
  readonly queueBytes: number;
  /** Bytes written to a connection and not yet taken by the kernel. Above: QoS 0 is dropped, QoS 1 and 2 wait in the queue. */
  readonly outboundBytes: number;
  /** Ceiling of Session Expiry Interval. 4294967295 (`never`): no ceiling. */
  readonly sessionExpirySeconds: number;
  /** Network Connections of the whole process. */
  readonly connections: number;
  /** Sessions of the whole process, connected or not. */
  readonly sessions: number;
  /** How often in a minute a connection may take a session from another; 0: no limit. */
  readonly takeoversPerMinute: number;
  /** From accept to a whole CONNECT. */
  readonly connectTimeoutMilliseconds: number;
  /** Bytes that wait in the queues of all sessions, in all mailboxes, and in flight to sessions that outlive their connection; of the whole process. */
  readonly queuedBytesTotal: number;
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  /** Ring capacity in bytes for each ordered pair of shards; a power of two. */
  readonly ringBytes: number;
}

export interface QueueSettings {
  /** Keep QoS 0 messages for a session that is offline or whose window is spent. */
  readonly qos0: boolean;
  readonly overflow: QueueOverflow;
}

export interface MailboxSettings {
  readonly enabled: boolean;
  readonly ttlSeconds: number;
  /** Messages kept for one Client Identifier. */
  readonly maxMessages: number;
  /** Bytes kept for one Client Identifier. */
  readonly maxBytes: number;
  /** Client Identifiers that may have a mailbox at one time, in the whole process. */
  readonly maxMailboxes: number;
}

export interface P2pSettings {
  readonly enabled: boolean;
  /** First levels that make a topic a P2P address, or every first level. */
  readonly parents: '*' | readonly string[];
  /** Topic that receivers see: `{topic}`, `{first}`, `{clientId}`, `{publisher}` are replaced. */
  readonly topicTemplate: string;
  /** `p2p-target` User Properties that one PUBLISH may carry. */
  readonly maxTargets: number;
  /** P2P messages to unknown clients that one connection may be told of in a minute; 0: no limit. */
  readonly missesPerMinute: number;
  readonly mailbox: MailboxSettings;
}

/** Names and passwords of a file. */
export interface UsersSettings {
  readonly type: 'users';
  /** File of users, absolute. */
  readonly file: string;
}

/** Signed tokens. Of the places of keys one is written; the others are ''. */
export interface JwtSettings {
  readonly type: 'jwt';
  /** Where the client shows its token. */
  readonly from: 'password' | 'username';
  readonly algorithms: readonly string[];
  /** File of a shared secret, absolute. */
  readonly secret: string;
  /** File of a public key in PEM, absolute. */
  readonly publicKey: string;
  /** File of a set of keys, absolute. */
  readonly jwks: string;
  readonly jwksUrl: string;
  /** The key itself, where an authenticator of `auth.file` has it; absent: it is in a file or at an address. */
  readonly keyText?: { readonly kind: 'secret' | 'publicKey' | 'jwks'; readonly text: string };
  readonly refreshMilliseconds: number;
  /** What `iss` and `aud` must be; '': anything. */
  readonly issuer: string;
  readonly audience: string;
  /** What further claims must be. */
  readonly claims: Readonly<Record<string, string>>;
  /** Claim whose text is the client's username from then on; '': none. */
  readonly usernameClaim: string;
  /** Claim that is an object of attributes; '': none. */
  readonly attributesClaim: string;
  /** Claim with rules about what the client may do; '': none. */
  readonly aclClaim: string;
}

/** A service that is asked over HTTP. In `headers` and `body`, `${ClientId}`, `${Username}`, `${Password}` and `${Address}` are replaced. */
export interface HttpSettings {
  readonly type: 'http';
  readonly url: string;
  readonly method: 'POST' | 'GET';
  readonly headers: Readonly<Record<string, string>>;
  /** JSON of a POST, query of a GET. */
  readonly body: Readonly<Record<string, string>>;
  readonly concurrency: number;
  readonly connectMilliseconds: number;
  readonly readMilliseconds: number;
  /** User Properties of the CONNECT go along as headers. */
  readonly includeUserProperties: boolean;
  /** How long an answer of yes or no is remembered; 0: not at all. */
  readonly cacheMilliseconds: number;
}

/** Certificates that a listener has checked. */
export interface CertificateSettings {
  readonly type: 'certificate';
  /** What is the client's username from then on. */
  readonly username: 'cn' | 'san' | 'fingerprint';
  /** What the Client Identifier must be. */
  readonly clientId: 'any' | 'cn' | 'san' | 'fingerprint';
  /** File of the certificates that are good, absolute; '': all that the listener takes. */
  readonly registry: string;
  /** Certificates of devices that are registered by themselves, until there are so many in the file. */
  readonly registryMax: number;
  readonly registrationsPerMinute: number;
}

/** Devices of a file, each with secrets of its own, that show signed tokens. */
export interface DevicesSettings {
  readonly type: 'devices';
  /** File of devices, absolute. */
  readonly file: string;
  /** How far ahead the end of a token may be; Infinity: as far as it likes. */
  readonly maxTokenAgeMilliseconds: number;
}

/** SCRAM-SHA-256, over a file of users. */
export interface ScramSettings {
  readonly type: 'scram';
  readonly file: string;
}

/** One judge of logins. They are asked in the order of the list; the first that says yes or no decides. */
export type AuthenticatorSettings = UsersSettings | ScramSettings | DevicesSettings | JwtSettings | HttpSettings | CertificateSettings;

export interface AuthSettings {
  /** Whether a client that shows nothing is let in. */
  readonly allowAnonymous: boolean;
  readonly authenticators: readonly AuthenticatorSettings[];
  /** File of further authenticators, which are asked behind those, absolute; '': none. */
  readonly file: string;
  /** There are authenticators, or may be some; otherwise everybody is anybody. */
  readonly hasJudges: boolean;
  /** File of rules about who is blocked, absolute; '': none. */
  readonly blocked: string;
  /** From CONNECT to the verdict. */
  readonly timeoutMilliseconds: number;
  /** Logins that wait for a verdict, in all shards. */
  readonly waitingMax: number;
  /** Threads that check passwords. */
  readonly passwordThreads: number;
  readonly failures: {
    readonly windowMilliseconds: number;
    /** Failed logins of one address in a window; 0: no limit. */
    readonly perAddress: number;
    /** Failed logins for one name in a window; 0: no limit. */
    readonly perName: number;
  };
}

/** When a promise counts as kept: on disk, with the operating system, or in memory. */
export type Durability = 'fsync' | 'os' | 'none';

export interface StoreSettings {
  readonly enabled: boolean;
  /** Directory, absolute. */
  readonly path: string;
  /** Directory that the API may write backups into, absolute; '': none. */
  readonly backups: string;
  readonly durability: Durability;
  /** What a start does with a damaged store: nothing, or go on with what can be read. */
  readonly onCorruption: 'stop' | 'salvage';
}

/** One rule about what clients may do. Whatever is null holds for all. */
export interface StatementSettings {
  /** For people, and for who changes it; absent: it has none. */
  readonly name?: string | undefined;
  readonly effect: 'allow' | 'deny';
  /** Topics, or the addresses of clients. */
  readonly resource: 'topic' | 'p2p';
  readonly actions: readonly ('connect' | 'publish' | 'subscribe' | 'observe')[];
  /** Topic Filters with `+`, `#`, `*` and variables. */
  readonly topics: readonly string[] | null;
  /** Client Identifiers that a P2P message goes to: patterns with `*`, `?` and variables. */
  readonly targets: readonly string[] | null;
  /** Attributes that sender and target of a P2P message must both have, with one value. */
  readonly same: readonly string[] | null;
  /** Attributes of the target of a P2P message: patterns with `*` and `?`, one of which must match. */
  readonly targetAttributes: Readonly<Record<string, readonly string[]>> | null;
  /** Patterns with `*`, `?` and variables, as are `usernames`. */
  readonly clientIds: readonly string[] | null;
  readonly usernames: readonly string[] | null;
  /** Attributes of the client, each with patterns. */
  readonly attributes: Readonly<Record<string, readonly string[]>> | null;
  /** Addresses and networks (`address/bits`). */
  readonly addresses: readonly string[] | null;
  /** Of subscriptions: names of Shared Subscriptions, patterns; an ordinary subscription has none. */
  readonly groups: readonly string[] | null;
  readonly qos: readonly number[] | null;
  readonly retain: boolean | null;
}

export interface AuthorizationSettings {
  /** File of further statements, absolute, which come behind those of the configuration; absent or '': none. */
  readonly file?: string | undefined;
  /** The first that matches decides, and none is a no; null: everyone may do everything. */
  readonly statements: readonly StatementSettings[] | null;
  /** What MQTT 3.1 and 3.1.1 see of a refused PUBLISH of QoS 1 or 2. */
  readonly deniedV3: 'acknowledge' | 'close';
}

/** How much may pass. */
export interface RateSettings {
  readonly perSecond: number;
  /** What may come at once after a time of silence. */
  readonly burst: number;
}

/** Limits of what clients publish; null: none. */
export interface InboundQuotaSettings {
  /** PUBLISH packets. */
  readonly messagesIn: RateSettings | null;
  /** Their bytes, without the fixed header. */
  readonly bytesIn: RateSettings | null;
  /** What is done with QoS 1 and 2 beyond the limit: refused (MQTT 5 only), or not read. */
  readonly overLimit: 'reject' | 'throttle';
}

export interface ClientQuotaSettings extends InboundQuotaSettings {
  /** PUBLISH packets to the client. */
  readonly messagesOut: RateSettings | null;
  readonly bytesOut: RateSettings | null;
  /** Topic Filters in SUBSCRIBE. */
  readonly subscribeRate: RateSettings | null;
}

export interface GroupQuotaSettings extends InboundQuotaSettings {
  /** What the clients of a group have in common: the username, or an attribute of theirs. Null: there are no groups. */
  readonly by: { readonly kind: 'username' } | { readonly kind: 'attribute'; readonly name: string } | null;
  /** Connections of one group; 0: no limit. */
  readonly connections: number;
}

export interface BrokerQuotaSettings extends InboundQuotaSettings {
  /** CONNECT packets. */
  readonly connectRate: RateSettings | null;
  readonly subscribeRate: RateSettings | null;
}

/** Each limit but those of one client holds for all shards together. */
export interface QuotaSettings {
  readonly client: ClientQuotaSettings;
  /** By place of the listener. */
  readonly listeners: readonly InboundQuotaSettings[];
  readonly groups: GroupQuotaSettings;
  readonly broker: BrokerQuotaSettings;
}

export interface HttpApiSettings {
  /** File of API keys, absolute; '': there are none. */
  readonly apiKeys: string;
  /** File of changes that were made through the API, absolute; '': none is written. */
  readonly auditLog: string;
  /** Size at which it is put aside. */
  readonly auditLogBytes: number;
  /** Files put aside that are kept. */
  readonly auditLogFiles: number;
  /** Attribute of a client's identity that names its role; '': none does. */
  readonly roleAttribute: string;
  /** Origins of pages that may use the API, beside those that come from here. */
  readonly origins: '*' | readonly string[];
  /** Longest body. */
  readonly requestBytes: number;
  /** Longest time from a whole request to its answer. */
  readonly timeoutMilliseconds: number;
  /** The same for a request that changes a file of the broker. */
  readonly changeTimeoutMilliseconds: number;
  /** Requests under way in the whole process. */
  readonly requestsMax: number;
  readonly accessLog: 'none' | 'failed' | 'all';
  /** Part of the successes that the access log has, 0 to 1. */
  readonly accessLogSample: number;
  /** Whether `/console` is served. */
  readonly console: boolean;
}

export interface MetricsSettings {
  /** Whether `/metrics` needs no credentials. */
  readonly public: boolean;
  /** One message of so many is looked at for the list of dear topics; 0: none. */
  readonly routeSample: number;
}

export interface TracingSettings {
  /** Address of an OpenTelemetry collector that takes traces as JSON over HTTP; '': nothing is traced. */
  readonly otlp: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Part of the messages that are traced, 0 to 1. */
  readonly sample: number;
  /** Whether messages are traced whose publishers say so. */
  readonly fromClients: boolean;
  readonly serviceName: string;
}

/** When an alarm is raised, and when it is cleared. */
export interface AlarmRuleSettings {
  readonly enabled: boolean;
  readonly threshold: number;
  readonly clear: number;
  /** How long a threshold must be passed. */
  readonly forMilliseconds: number;
}

/** Names of the rules, in the order of the manual. */
export type AlarmRuleName =
  | 'connections'
  | 'sessions'
  | 'queuedBytes'
  | 'retainedMessages'
  | 'memory'
  | 'disk'
  | 'storeDegraded'
  | 'shardLoad'
  | 'eventLoopLag'
  | 'ringFull'
  | 'droppedMessages'
  | 'loginFailures'
  | 'slowConsumers'
  | 'certificateExpiry'
  | 'shardRestarted';

export interface WebhookSettings {
  /** '': there is none. */
  readonly url: string;
  /** File of the secret that notices are signed with, absolute; '': they are not signed. */
  readonly secret: string;
  readonly timeoutMilliseconds: number;
  /** How often a notice is sent again before it is given up. */
  readonly retries: number;
}

export interface AlarmSettings {
  readonly rules: Readonly<Record<AlarmRuleName, AlarmRuleSettings>>;
  readonly webhook: WebhookSettings;
}

/** What is kept of the messages that pass, for people to look at. */
export interface HistorySettings {
  readonly enabled: boolean;
  /** Directory, absolute. */
  readonly path: string;
  readonly retentionSeconds: number;
  /** Bytes on disk; the oldest go. */
  readonly bytesMax: number;
  /** Topic Filters; a message that matches one is kept. */
  readonly filters: readonly string[];
  /** Receivers are told the Message ID. */
  readonly messageId: boolean;
  /** Bytes of one payload that are kept. */
  readonly payloadBytes: number;
  /** Bytes on their way from each shard to the disk; a power of two. */
  readonly bufferBytes: number;
}

export interface Settings {
  /** Shard count, already resolved from `auto`. */
  readonly shards: number;
  /** Name of this process in events: `host:port` of the first listener unless set. */
  readonly node: string;
  readonly listeners: readonly ListenerSettings[];
  readonly auth: AuthSettings;
  readonly authorization: AuthorizationSettings;
  readonly quotas: QuotaSettings;
  readonly mqtt: MqttSettings;
  readonly limits: LimitSettings;
  readonly queue: QueueSettings;
  readonly store: StoreSettings;
  readonly history: HistorySettings;
  readonly p2p: P2pSettings;
  readonly http: HttpApiSettings;
  readonly metrics: MetricsSettings;
  readonly tracing: TracingSettings;
  readonly alarms: AlarmSettings;
  readonly log: { readonly level: LogLevel };
  readonly shutdown: { readonly timeoutMilliseconds: number };
}
