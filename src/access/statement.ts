/**
 * Statements: the authorization of the configuration, compiled once for a shard, and bound to a client once for a connection.
 *
 * Whatever can be said when a client connects (its identity, its address, its attributes, the variables) is said then, so that per message only topics and targets
 * are left. It knows no connection and no session.
 */
import { BlockList, isIPv6 } from 'node:net';
import { utf8Bytes } from '../base/bytes.ts';
import { addNetwork } from '../base/network.ts';
import type { StatementSettings } from '../base/settings.ts';
import {
  ANY,
  bindPieces,
  literalPattern,
  type Pattern,
  type Piece,
  patternMatches,
  readPattern,
  readPieces,
  type VariableName,
  type Variables,
} from './pattern.ts';
import { type BoundStatement, type CacheTally, decisionOf, SessionAccess, UNDECIDED } from './session-access.ts';
import { questionEntry, type TargetCondition } from './target-question.ts';
import { bindTopic, NO_VARIABLES, readTopic, type TopicTemplate } from './topic-pattern.ts';

/** Whose actions are judged. */
export interface Subject {
  readonly clientId: string;
  readonly username: string | undefined;
  /** Without port and brackets; '' where there is none, as on a Unix socket. */
  readonly address: string;
  readonly attributes: Readonly<Record<string, string>>;
}

const EVERY_QOS = 7;
const EITHER_RETAIN = 3;
/** Rules that a client has brought along are numbered from here on. */
export const OWN_RULES: number = 0x100000;

const ATTRIBUTE = 'Attribute.';

/** A subject as statements look at it: texts in bytes, and variables, each made once. */
class Client implements Variables {
  readonly subject: Subject;
  readonly clientIdBytes: Uint8Array;
  readonly usernameBytes: Uint8Array | null;
  private readonly values: Map<VariableName, Pattern | null>;

  constructor(subject: Subject) {
    this.subject = subject;
    this.clientIdBytes = utf8Bytes(subject.clientId);
    this.usernameBytes = subject.username === undefined ? null : utf8Bytes(subject.username);
    this.values = new Map();
  }

  attribute(name: string): string | undefined {
    const { attributes } = this.subject;
    return Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  }

  /** Null: it must not be used. */
  usable(name: VariableName): Pattern | null {
    let value = this.values.get(name);
    if (value === undefined) {
      const text = this.textOf(name);
      value = isUsable(text) ? literalPattern(text) : null;
      this.values.set(name, value);
    }
    return value;
  }

  valueOf(name: VariableName): Pattern {
    return this.usable(name) ?? ANY;
  }

  private textOf(name: VariableName): string | undefined {
    if (name === 'ClientId') return this.subject.clientId;
    if (name === 'Username') return this.subject.username;
    // Attributes that a certificate has given bear the whole name.
    return this.attribute(name.startsWith(ATTRIBUTE) ? name.slice(ATTRIBUTE.length) : name);
  }
}

/** Whether a value can stand in a topic without being read as more than one name: as more levels, as wildcards, or as the broker's own topics. */
function isUsable(value: string | undefined): value is string {
  return value !== undefined && value !== '' && !value.startsWith('$') && !/[/+#]/.test(value);
}

/** Attributes and what they must be. */
type AttributePatterns = readonly (readonly [name: string, patterns: readonly Pattern[]])[];

class Statement {
  readonly settings: StatementSettings;
  readonly index: number;
  readonly isAllow: boolean;
  private readonly clientIds: readonly (readonly Piece[])[] | null;
  private readonly usernames: readonly (readonly Piece[])[] | null;
  private readonly addresses: BlockList | null;
  private readonly attributes: AttributePatterns;
  private readonly targetAttributes: AttributePatterns;
  private readonly topics: readonly TopicTemplate[] | null;
  private readonly targets: readonly (readonly Piece[])[] | null;
  private readonly groups: readonly Pattern[] | null;
  private readonly variables: readonly VariableName[];
  private readonly qos: number;
  private readonly retain: number;
  /** Where nothing in it depends on the client, it is the same for all. */
  private readonly shared: BoundStatement | null;

  constructor(settings: StatementSettings, index: number) {
    this.settings = settings;
    this.index = index;
    this.isAllow = settings.effect === 'allow';
    this.clientIds = settings.clientIds?.map((text) => readPieces(text, true)) ?? null;
    this.usernames = settings.usernames?.map((text) => readPieces(text, true)) ?? null;
    this.addresses = settings.addresses === null ? null : networks(settings.addresses);
    this.attributes = attributePatterns(settings.attributes);
    this.targetAttributes = attributePatterns(settings.targetAttributes);
    this.topics = settings.topics?.map(readTopic) ?? null;
    this.targets = settings.targets?.map((text) => readPieces(text, true)) ?? null;
    this.groups = settings.groups?.map((text) => readPattern(text, true)) ?? null;
    const texts = [...(this.topics ?? []).flatMap(({ levels }) => levels), ...(this.targets ?? [])];
    const pieces = [...texts, ...(this.clientIds ?? []), ...(this.usernames ?? [])].flat();
    this.variables = [...new Set(pieces.filter((piece) => typeof piece === 'string'))];
    this.qos = settings.qos?.reduce((mask, qos) => mask | (1 << qos), 0) ?? EVERY_QOS;
    this.retain = settings.retain === null ? EITHER_RETAIN : settings.retain ? 2 : 1;
    const isShared = settings.same === null && !texts.flat().some((piece) => typeof piece === 'string');
    this.shared = isShared ? this.withVariables(NO_VARIABLES, this.conditions(null)!) : null;
  }

  /** The statement for one client; null: it does not concern it, or a variable that allows would stand for more than this client. */
  bind(client: Client): BoundStatement | null {
    if (this.isAllow && this.variables.some((name) => client.usable(name) === null)) return null;
    if (!this.concerns(client)) return null;
    if (this.shared !== null) return this.shared;
    const conditions = this.conditions(client);
    return conditions === null ? null : this.withVariables(client, conditions);
  }

  private concerns(client: Client): boolean {
    const { address } = client.subject;
    if (this.clientIds !== null && !matchesOne(this.clientIds, client, client.clientIdBytes)) return false;
    if (this.usernames !== null && (client.usernameBytes === null || !matchesOne(this.usernames, client, client.usernameBytes)))
      return false;
    if (this.addresses !== null && (address === '' || !this.addresses.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'))) return false;
    return this.attributes.every(([name, patterns]) => {
      const value = client.attribute(name);
      if (value === undefined) return false;
      const bytes = utf8Bytes(value);
      return patterns.some((pattern) => patternMatches(pattern, bytes, 0, bytes.length));
    });
  }

  /** What must be asked of the target; null: the client has no such attribute itself, so that it cannot be the same. */
  private conditions(client: Client | null): readonly TargetCondition[] | null {
    const conditions: TargetCondition[] = [];
    for (const name of this.settings.same ?? []) {
      const value = client?.attribute(name);
      if (value === undefined) return null;
      conditions.push({ name: utf8Bytes(name), patterns: [literalPattern(value)] });
    }
    for (const [name, patterns] of this.targetAttributes) conditions.push({ name: utf8Bytes(name), patterns });
    return conditions;
  }

  private withVariables(variables: Variables, conditions: readonly TargetCondition[]): BoundStatement {
    const { index, isAllow } = this;
    return {
      index,
      isAllow,
      qos: this.qos,
      retain: this.retain,
      groups: this.groups,
      topics: this.topics?.map((topic) => bindTopic(topic, variables)) ?? null,
      targets: this.targets?.map((pieces) => bindPieces(pieces, variables)) ?? null,
      question: conditions.length === 0 ? null : questionEntry(decisionOf(this), conditions),
    };
  }
}

function networks(list: readonly string[]): BlockList {
  const result = new BlockList();
  for (const network of list) addNetwork(result, network);
  return result;
}

function attributePatterns(settings: StatementSettings['attributes']): AttributePatterns {
  return Object.entries(settings ?? {}).map(([name, texts]) => [name, texts.map((text) => readPattern(text, true))] as const);
}

function matchesOne(patterns: readonly (readonly Piece[])[], variables: Variables, bytes: Uint8Array): boolean {
  return patterns.some((pieces) => patternMatches(bindPieces(pieces, variables), bytes, 0, bytes.length));
}

const NONE: readonly BoundStatement[] = [];
const NO_BYTES = new Uint8Array(0);

/** Every client keeps these lists: a copy is as long as it needs to be, where the original has room for more. */
function kept(list: readonly BoundStatement[]): readonly BoundStatement[] {
  return list.length === 0 ? NONE : list.slice();
}

/** All statements of the configuration. */
export class Statements {
  private readonly list: readonly Statement[];
  private readonly tally: CacheTally;
  /** Whether any statement is about CONNECT; if none is, everyone may. */
  readonly restrictsConnect: boolean;

  constructor(settings: readonly StatementSettings[], tally: CacheTally) {
    this.list = settings.map((statement, index) => new Statement(statement, index));
    this.tally = tally;
    this.restrictsConnect = settings.some(({ actions }) => actions.includes('connect'));
  }

  /** The statement at a place, as JSON. */
  textOf(index: number): string {
    const { settings } = this.list[index]!;
    return JSON.stringify(settings, (_, value: unknown) => value ?? undefined);
  }

  /** Judges a CONNECT. Where no statement speaks of it, everyone may. @returns the decision */
  connect(subject: Subject): number {
    if (!this.restrictsConnect) return 0;
    const client = new Client(subject);
    const first = this.list.find((statement) => statement.settings.actions.includes('connect') && statement.bind(client) !== null);
    return first === undefined ? UNDECIDED : decisionOf(first);
  }

  /**
   * What the client may do from now on.
   * @param own rules that the client has brought along, which are asked before all others; null: none
   */
  accessOf(subject: Subject, own: readonly StatementSettings[] | null = null): SessionAccess {
    const publish: BoundStatement[] = [];
    const subscribe: BoundStatement[] = [];
    const p2p: BoundStatement[] = [];
    const observe: BoundStatement[] = [];
    const client = new Client(subject);
    const add = (statement: Statement): void => {
      const bound = statement.bind(client);
      if (bound === null) return;
      const { resource, actions } = statement.settings;
      if (resource === 'p2p') {
        if (actions.includes('publish')) p2p.push(bound);
        if (actions.includes('observe')) observe.push(bound);
      } else {
        if (actions.includes('publish')) publish.push(bound);
        if (actions.includes('subscribe')) subscribe.push(bound);
      }
    };
    for (const [index, rule] of (own ?? []).entries()) add(new Statement(rule, OWN_RULES + index));
    for (const statement of this.list) add(statement);
    const lists = { publish: kept(publish), subscribe: kept(subscribe), p2p: kept(p2p), observe: kept(observe) };
    const asks = p2p.some(({ question }) => question !== null);
    return new SessionAccess(lists, asks ? client.clientIdBytes : NO_BYTES, this.tally);
  }
}
