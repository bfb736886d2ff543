/**
 * Blocked: asks the rules about who may not connect, and ends the connections of those for whom a new rule holds.
 *
 *   address → gate, at accept          Client Identifier, username → CONNECT, before anybody judges what is shown, and after that with the name that was proved
 *
 * The rules come from the supervisor, which reads their file. A session that is blocked stays, as one whose client is away.
 */
import { type BlockRule, BlockRules } from '../access/block-rules.ts';
import { LineRate } from '../base/line-rate.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { addressOf } from './login.ts';
import { endConnection } from './sessions.ts';
import type { Shard } from './shard.ts';

const REFUSED = counter('blocked/refused');
const DISCONNECTED = counter('blocked/disconnected');
const SUPPRESSED = counter('blocked/log/suppressed');

const LINES_PER_SECOND = 10;
/** Rules times connections that one step of a walk looks at: about 10 ms. Between two steps the shard does its other work. */
const STEP = 20_000;

export class Blocked {
  private readonly shard: Shard;
  private readonly rate: LineRate;
  private list: readonly BlockRule[];
  private rules: BlockRules;

  constructor(shard: Shard) {
    this.shard = shard;
    this.rate = new LineRate(LINES_PER_SECOND);
    this.list = [];
    this.rules = new BlockRules([]);
  }

  /** The rule that keeps this client out, or null. */
  find(connection: Connection, clientId: string, username: string | undefined): BlockRule | null {
    if (this.rules.isEmpty) return null;
    return this.rules.find(clientId, username, addressOf(connection.peer.name), Date.now());
  }

  /** Whether an address is kept out; nobody is told. */
  hasAddress(address: string): boolean {
    return !this.rules.isEmpty && this.rules.findAddress(address, Date.now()) !== null;
  }

  /** Counts one who was refused. @returns whether the log has room for a line about it */
  refused(): boolean {
    this.shard.counters[REFUSED]!++;
    return this.mayLog();
  }

  /** Goes on with other rules. Whoever is connected and may not be by a new one is told, and disconnected. */
  replace(list: readonly BlockRule[]): void {
    const before = new Set(this.list.map((rule) => JSON.stringify(rule)));
    const added = list.filter((rule) => !before.has(JSON.stringify(rule)));
    this.list = list;
    this.rules = new BlockRules(list);
    if (added.length === 0) return;
    const connections = [...this.shard.connections].values();
    this.walk(connections, new BlockRules(added), Math.max(1, Math.ceil(STEP / added.length)));
  }

  private walk(connections: IterableIterator<Connection>, added: BlockRules, stepLength: number): void {
    this.shard.startTurn();
    for (let i = 0; i < stepLength; i++) {
      const next = connections.next();
      if (next.done) return;
      this.look(next.value, added);
    }
    setImmediate(() => this.walk(connections, added, stepLength));
  }

  private look(connection: Connection, added: BlockRules): void {
    const { state, control, session, peer } = connection;
    if (state !== CONNECTED || control !== null || session === null) return;
    const { username } = session;
    // Of a client inside the broker the name that it was let in by.
    const clientId = connection.identity?.judgedAs ?? session.clientId;
    if (added.find(clientId, username, addressOf(peer.name), Date.now()) === null) return;
    // The rule may be gone again by now.
    const rule = this.find(connection, clientId, username);
    if (rule === null) return;
    this.shard.counters[DISCONNECTED]!++;
    if (this.mayLog()) this.shard.log.info({ client: clientId, peer: peer.name, rule: rule.name }, 'client disconnected: it is blocked');
    // DISCONNECT does not know 0x8A Banned (section 3.14.2.1).
    endConnection(connection, ReasonCode.AdministrativeAction, 'blocked', true);
  }

  private mayLog(): boolean {
    if (this.rate.take(this.shard.timers.now)) return true;
    this.shard.counters[SUPPRESSED]!++;
    return false;
  }
}
