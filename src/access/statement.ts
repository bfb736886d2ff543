/**
 * Statements: the authorization of the configuration, compiled once for a shard, and bound to a client once for a connection.
 *
 * Whatever can be said when a client connects (its identity, its address, the variables) is said then, so that per message only topics are left. It knows no
 * connection and no session.
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
import { bindTopic, readTopic, type TopicTemplate } from './topic-pattern.ts';

/** Who connects. */
export interface Identity {
  readonly clientId: string;
  readonly username: string | undefined;
  /** Without port and brackets; '' where there is none, as on a Unix socket. */
  readonly address: string;
}

/** What the variables stand for, and which of them must not be used. */
interface Bindings extends Variables {
  readonly unusable: readonly VariableName[];
}

const NO_BINDINGS: Variables = { ClientId: ANY, Username: ANY };
const EVERY_QOS = 7;
const EITHER_RETAIN = 3;

class Statement {
  readonly settings: StatementSettings;
  readonly index: number;
  readonly isAllow: boolean;
  private readonly clientIds: readonly Pattern[] | null;
  private readonly usernames: readonly Pattern[] | null;
  private readonly addresses: BlockList | null;
  private readonly topics: readonly TopicTemplate[] | null;
  private readonly targets: readonly (readonly Piece[])[] | null;
  private readonly variables: readonly VariableName[];
  private readonly qos: number;
  private readonly retain: number;
  /** Where it has no variables, it is the same for all. */
  private readonly shared: BoundStatement | null;

  constructor(settings: StatementSettings, index: number) {
    this.settings = settings;
    this.index = index;
    this.isAllow = settings.effect === 'allow';
    this.clientIds = settings.clientIds?.map((text) => readPattern(text, true)) ?? null;
    this.usernames = settings.usernames?.map((text) => readPattern(text, true)) ?? null;
    this.addresses = settings.addresses === null ? null : networks(settings.addresses);
    this.topics = settings.topics?.map(readTopic) ?? null;
    this.targets = settings.targets?.map((text) => readPieces(text, true)) ?? null;
    const pieces = [...(this.topics ?? []).flatMap(({ levels }) => levels), ...(this.targets ?? [])].flat();
    this.variables = [...new Set(pieces.filter((piece) => typeof piece === 'string'))];
    this.qos = settings.qos?.reduce((mask, qos) => mask | (1 << qos), 0) ?? EVERY_QOS;
    this.retain = settings.retain === null ? EITHER_RETAIN : settings.retain ? 2 : 1;
    this.shared = this.variables.length > 0 ? null : this.withVariables(NO_BINDINGS);
  }

  /** Whether it can concern this client at all. */
  concerns({ clientId, username, address }: Identity): boolean {
    if (this.clientIds !== null && !matchesOne(this.clientIds, clientId)) return false;
    if (this.usernames !== null && (username === undefined || !matchesOne(this.usernames, username))) return false;
    return this.addresses === null || (address !== '' && this.addresses.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'));
  }

  /** The statement for one client; null: a variable that allows would stand for more than this client. */
  bind(bindings: Bindings): BoundStatement | null {
    if (this.shared !== null) return this.shared;
    if (this.isAllow && this.variables.some((name) => bindings.unusable.includes(name))) return null;
    return this.withVariables(bindings);
  }

  private withVariables(variables: Variables): BoundStatement {
    return {
      index: this.index,
      isAllow: this.isAllow,
      qos: this.qos,
      retain: this.retain,
      topics: this.topics?.map((topic) => bindTopic(topic, variables)) ?? null,
      targets: this.targets?.map((pieces) => bindPieces(pieces, variables)) ?? null,
    };
  }
}

function networks(list: readonly string[]): BlockList {
  const result = new BlockList();
  for (const network of list) addNetwork(result, network);
  return result;
}

function matchesOne(patterns: readonly Pattern[], text: string): boolean {
  const bytes = utf8Bytes(text);
  return patterns.some((pattern) => patternMatches(pattern, bytes, 0, bytes.length));
}

/** Whether a value can stand in a topic without being read as more than one name: as more levels, as wildcards, or as the broker's own topics. */
function isUsable(value: string | undefined): value is string {
  return value !== undefined && value !== '' && !value.startsWith('$') && !/[/+#]/.test(value);
}

function bindingsOf({ clientId, username }: Identity): Bindings {
  const unusable: VariableName[] = [];
  if (!isUsable(clientId)) unusable.push('ClientId');
  if (!isUsable(username)) unusable.push('Username');
  return {
    ClientId: isUsable(clientId) ? literalPattern(clientId) : ANY,
    Username: isUsable(username) ? literalPattern(username) : ANY,
    unusable,
  };
}

/** All statements of the configuration. */
export class Statements {
  private readonly list: readonly Statement[];
  private readonly tally: CacheTally;
  private readonly restrictsConnect: boolean;

  constructor(settings: readonly StatementSettings[], tally: CacheTally) {
    this.list = settings.map((statement, index) => new Statement(statement, index));
    this.tally = tally;
    this.restrictsConnect = settings.some(({ actions }) => actions.includes('connect'));
  }

  /** Judges a CONNECT. Where no statement speaks of it, everyone may. @returns the decision */
  connect(identity: Identity): number {
    if (!this.restrictsConnect) return 0;
    const bindings = bindingsOf(identity);
    const first = this.list.find(
      (statement) => statement.settings.actions.includes('connect') && statement.concerns(identity) && statement.bind(bindings) !== null,
    );
    return first === undefined ? UNDECIDED : decisionOf(first);
  }

  /** What the client may do from now on. */
  accessOf(identity: Identity): SessionAccess {
    const publish: BoundStatement[] = [];
    const subscribe: BoundStatement[] = [];
    const p2p: BoundStatement[] = [];
    const bindings = bindingsOf(identity);
    for (const statement of this.list) {
      const bound = statement.concerns(identity) ? statement.bind(bindings) : null;
      if (bound === null) continue;
      const { resource, actions } = statement.settings;
      if (resource === 'p2p') p2p.push(bound);
      else {
        if (actions.includes('publish')) publish.push(bound);
        if (actions.includes('subscribe')) subscribe.push(bound);
      }
    }
    // Copies are as long as they need to be; these lists have room for more.
    return new SessionAccess({ publish: publish.slice(), subscribe: subscribe.slice(), p2p: p2p.slice() }, this.tally);
  }
}
