/*
 * A campaign of rounds over one data directory. In each round a broker starts over what the one before has left behind, a population of clients connects,
 * publishes, subscribes, loses connections, comes and goes; then the broker dies at a moment that was drawn. What the clients saw is judged by the checker as
 * it happens, and completely whenever everything has drained.
 *
 *   start over the directory (sometimes killed while it starts) → what is retained → sometimes drain: all connect, all arrives → traffic → the end of the round
 *
 * All that the campaign decides follows from the seed: shards, who connects in which order, what is published where, which answers are held back, after how
 * many events the broker dies. What it cannot decide is the order in which the operating system runs the processes, so a seed repeats a plan and not a run.
 */

import { Random } from '../scenario/observe.ts';
import type { BrokerOptions, TestBroker } from '../support/broker.ts';
import { startBroker } from '../support/broker.ts';
import { Checker } from './checker.ts';
import type { Compactor } from './compactor.ts';
import { Conditions } from './conditions.ts';
import { drain } from './drain.ts';
import { killWhileStarting } from './early-kill.ts';
import { Member, type Role } from './member.ts';
import type { ClientEvent } from './persistent-client.ts';
import { readRetained } from './retained-reader.ts';

export interface CampaignOptions {
  readonly seed: number;
  readonly rounds: number;
  /** Data directory of the broker. */
  readonly directory: string;
  readonly durability: string;
  /** In every round; otherwise drawn for each. */
  readonly shards?: number | undefined;
  /** False: the broker lives through all rounds, and a round ends with the connections of all clients. Shows that the harness itself is right. */
  readonly isKilling: boolean;
  /** Has the store compacted all the time. */
  readonly compactor?: Compactor | undefined;
  /** Told one line for each round. */
  readonly log: (line: string) => void;
}

export interface CampaignResult {
  rounds: number;
  kills: number;
  earlyKills: number;
  stops: number;
  drains: number;
  cuts: number;
  acknowledged: number;
  arrived: number;
  repeated: number;
}

const SHARDS_MAX = 4;
const LATE_MAX = 8;
/** Starts that are killed in a row at most. */
const EARLY_KILLS_MAX = 3;

type Ending = 'kill' | 'stop' | 'disconnect';

interface Plan {
  readonly shards: number;
  readonly inflight: number;
  readonly ending: Ending;
  /** Events until the end of the round. */
  readonly events: number;
  readonly isDraining: boolean;
  /** Looks at each start that is killed. */
  readonly earlyKills: readonly number[];
  readonly readsRetained: boolean;
}

export class Campaign {
  readonly result: CampaignResult = {
    rounds: 0,
    kills: 0,
    earlyKills: 0,
    stops: 0,
    drains: 0,
    cuts: 0,
    acknowledged: 0,
    arrived: 0,
    repeated: 0,
  };
  private readonly options: CampaignOptions;
  private readonly checker = new Checker({ hasMailboxes: true, mayReorderResent: false });
  private readonly members: Member[] = [];
  private broker!: TestBroker;
  private shards = 1;
  private random: Random;
  /** Round in which a late member may connect for the first time. */
  private readonly firstRounds = new Map<string, number>();
  private eventsLeft = 0;
  private isActing = false;
  private isPublishing = false;
  /** The broker may end connections now. */
  private isEnding = false;
  private targets: string[] = [];
  private readonly tasks = new Set<Promise<unknown>>();
  private readonly conditions = new Conditions(this.checker);

  constructor(options: CampaignOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    const random = this.random;
    const add = (role: Role, clientId: string, version: 4 | 5): void => {
      const window = role === 'herald' ? 1000 : 1 + random.below(16);
      const receiveMaximum = 8 + random.below(40);
      const { seed } = options;
      const onEvent = (member: Member, what: ClientEvent): void => this.onEvent(member, what);
      this.members.push(new Member({ clientId, role, version, window, receiveMaximum, seed, checker: this.checker, onEvent }));
    };
    for (let number = 0; number < 4; number++) add('publisher', `publisher-${number}`, number % 2 === 0 ? 5 : 4);
    for (let number = 0; number < 2; number++) add('keeper', `keeper-${number}`, number % 2 === 0 ? 5 : 4);
    // A Client Identifier may hold what looks like more levels of a topic.
    for (let number = 0; number < 7; number++)
      add('receiver', number === 3 ? 'site/receiver-3' : `receiver-${number}`, number % 3 === 1 ? 4 : 5);
    for (let number = 0; number < 3; number++) add('passer', `passer-${number}`, number === 1 ? 4 : 5);
    for (let number = 0; number < LATE_MAX; number++) {
      add('late', `late-${number}`, number % 2 === 0 ? 5 : 4);
      this.firstRounds.set(`late-${number}`, 2 + number * 3 + random.below(3));
    }
    add('herald', 'herald', 5);
  }

  /** Runs all rounds. @throws Error with every violation of the round that had the first */
  async run(): Promise<CampaignResult> {
    const { rounds, isKilling } = this.options;
    for (let round = 1; round <= rounds; round++) await this.round(round, this.planOf(round));
    // Everything arrives; and over what a graceful stop has left behind nothing arrives any more.
    const quiet = { shards: 2, inflight: 32, events: 0, earlyKills: [], readsRetained: true, isDraining: true };
    await this.round(rounds + 1, { ...quiet, ending: isKilling ? 'stop' : 'disconnect' });
    await this.round(rounds + 2, { ...quiet, ending: isKilling ? 'kill' : 'disconnect' });
    if (!isKilling) await this.broker.kill();
    const { acknowledged, arrived, repeated } = this.checker;
    return Object.assign(this.result, { rounds, acknowledged, arrived, repeated });
  }

  /** Leaves no process behind. */
  async abandon(): Promise<void> {
    this.isActing = false;
    this.isEnding = true;
    this.isPublishing = false;
    for (const { client } of this.members) client.lose();
    await this.broker?.kill();
  }

  private planOf(round: number): Plan {
    this.random = new Random(this.options.seed * 31 + round * 104_729);
    const { random } = this;
    const drawn = 1 + random.below(SHARDS_MAX);
    const shards = this.options.shards ?? drawn;
    const inflight = 4 + random.below(60);
    const isAmongConnects = random.oneIn(4);
    const events = isAmongConnects ? random.below(30) : 30 + random.below(900);
    const earlyKills =
      this.options.isKilling && random.oneIn(5) ? Array.from({ length: 1 + random.below(EARLY_KILLS_MAX) }, () => random.below(400)) : [];
    const isStopping = random.oneIn(7);
    const isDraining = random.oneIn(4);
    const ending = this.options.isKilling ? (isStopping ? 'stop' : 'kill') : 'disconnect';
    return { shards, inflight, ending, events, isDraining, earlyKills, readsRetained: random.oneIn(2) };
  }

  private async round(round: number, plan: Plan): Promise<void> {
    const { checker, members, random } = this;
    checker.round = round;
    for (const member of members) member.beginRound(round);
    // A late member is written to some rounds before it comes.
    const isTarget = ({ role, clientId }: Member): boolean => role !== 'late' || round >= this.firstRounds.get(clientId)! - 2;
    this.targets = members.filter(isTarget).map(({ clientId }) => clientId);
    await this.start(round, plan);
    this.isEnding = false;
    const { port } = this.broker;
    if (plan.readsRetained) await this.judgeRetained();
    const isLast = round > this.options.rounds;
    if (plan.isDraining) await this.drain(port, isLast);
    for (const { client } of members) client.isPrompt = false;
    if (!isLast) {
      const over = this.endOfEvents(plan.events);
      // After a drain all are connected and wait.
      for (const member of members) this.keepPublishing(member);
      for (const member of shuffled(random, members)) if (this.isInRound(member)) this.begin(() => this.join(member));
      await over;
    }
    await this.end(plan.ending);
    const { acknowledged, arrived } = checker;
    this.options.log(
      `round ${round}: ${this.shards} shards, ${plan.isDraining ? 'drained, ' : ''}${isLast ? '' : `${plan.events} events, `}${plan.ending}; ${acknowledged} acknowledged, ${arrived} arrived`,
    );
    if (checker.violations.length > 0) throw new Error(checker.violations.join('\n'));
  }

  private async start(round: number, plan: Plan): Promise<void> {
    if (!this.options.isKilling && this.broker !== undefined) return;
    this.shards = plan.shards;
    const options: BrokerOptions = {
      shards: plan.shards,
      'store.path': this.options.directory,
      'store.durability': this.options.durability,
      'limits.inflight': plan.inflight,
      'limits.queueMessages': 1_000_000,
      'limits.queueBytes': '1GiB',
      'p2p.mailbox.enabled': true,
      'p2p.mailbox.maxMessages': 1_000_000,
      'p2p.mailbox.maxBytes': '1GiB',
      'shutdown.timeout': '30s',
    };
    for (const looks of plan.earlyKills) if (await killWhileStarting(options, this.options.directory, looks)) this.result.earlyKills++;
    try {
      this.broker = await startBroker({ ...options, ...this.options.compactor?.options });
      this.options.compactor?.begin(this.broker);
    } catch (error) {
      throw new Error(`round ${round}: the broker does not start over its directory: ${(error as Error).message}`);
    }
  }

  private async end(ending: Ending): Promise<void> {
    const { checker, members } = this;
    this.isActing = false;
    this.isEnding = true;
    if (ending === 'disconnect') {
      this.isPublishing = false;
      // Of two CONNECTs under way at the same time a living broker may take the older one last, so none is given up here.
      await Promise.all(this.tasks);
      for (const { client } of members) client.lose();
    } else if (ending === 'kill') {
      this.result.kills++;
      await this.broker.kill();
    } else {
      // Traffic goes on until the broker ends it.
      this.result.stops++;
      const code = await this.broker.stop();
      if (code !== 0) checker.violate(`SIGTERM ends the broker with exit code ${code}`);
    }
    this.isPublishing = false;
    if (ending !== 'disconnect') await this.options.compactor?.ended();
    await Promise.all(this.tasks);
    await Promise.all(members.map(({ client }) => client.closed()));
    for (const line of this.broker.log) {
      if (line['level'] === 'error' || line['level'] === 'fatal') checker.violate(`the broker logs ${JSON.stringify(line)}`);
    }
  }

  // What happens in a round

  private onEvent(member: Member, what: ClientEvent): void {
    if (what === 'closed' && !this.isEnding) {
      const { closingCode } = member.client;
      const words = closingCode === undefined ? 'without a word' : `with 0x${closingCode.toString(16)}`;
      this.checker.violate(`the broker ended the connection of ${member.clientId} ${words}`);
    }
    if (what !== 'closed' && what !== 'lost') {
      this.keepPublishing(member);
      if (this.isActing && --this.eventsLeft > 0) this.act();
    }
    this.conditions.look();
  }

  private keepPublishing(member: Member): void {
    if (this.isPublishing && (member.role === 'publisher' || member.role === 'keeper')) member.fill(this.targets);
  }

  /** Now and then something happens to somebody. */
  private act(): void {
    const { random } = this;
    const draw = random.below(500);
    if (draw < 5) this.begin(() => this.cut(random.pick(this.members)));
    else if (draw < 9) this.begin(() => this.changeSubscription(random.pick(this.members)));
    else if (draw < 12) this.begin(() => this.pass(random.pick(this.members.filter(({ role }) => role === 'passer'))));
    else if (draw < 14) this.leave(random.pick(this.members));
    else if (draw < 16) this.begin(() => this.join(random.pick(this.members)));
  }

  /** Resolves when so many events have come. */
  private endOfEvents(events: number): Promise<unknown> {
    this.eventsLeft = events;
    this.isActing = events > 0;
    this.isPublishing = events > 0;
    const clients = this.members.map(({ client }) => client);
    return this.conditions.until(`${events} events`, clients, () => {
      if (this.eventsLeft > 0) return false;
      this.isActing = false;
      return true;
    });
  }

  private begin(task: () => Promise<unknown>): void {
    const running = task().finally(() => this.tasks.delete(running));
    this.tasks.add(running);
  }

  private isInRound(member: Member): boolean {
    const { random } = this;
    if (member.role === 'herald') return false;
    if (member.role === 'late' && this.checker.round < this.firstRounds.get(member.clientId)!) return false;
    return !random.oneIn(member.role === 'receiver' ? 3 : 6);
  }

  private async join(member: Member): Promise<void> {
    const { client, clientId, role } = member;
    if (client.isOpen || client.isOpening || role === 'herald') return;
    if (role === 'late' && this.checker.round < this.firstRounds.get(clientId)!) return;
    if (!(await client.open(this.broker.port))) return;
    if (role !== 'receiver' && role !== 'passer' && role !== 'late') return;
    for (let missing = 2 - this.checker.filtersOf(clientId).length; missing > 0 && client.isOpen; missing--)
      await this.changeSubscription(member);
  }

  private async cut(member: Member): Promise<void> {
    if (!member.client.isOpen) return;
    this.result.cuts++;
    member.client.lose();
    await this.join(member);
  }

  private leave(member: Member): void {
    if (member.client.isOpen) member.client.leave();
  }

  private async changeSubscription(member: Member): Promise<void> {
    if (!member.client.isOpen || member.role === 'keeper' || member.role === 'herald') return;
    await member.changeSubscription(this.checker.filtersOf(member.clientId), this.random, true);
  }

  /** A session ends on purpose, and perhaps another one begins. */
  private async pass(member: Member): Promise<void> {
    const { client } = member;
    if (client.isOpening) return;
    if (!this.checker.mayHaveSession(member.clientId)) {
      await this.join(member);
      return;
    }
    if (client.version === 5 && this.random.oneIn(2)) {
      if (await client.open(this.broker.port, true, true)) await this.changeSubscription(member);
      return;
    }
    if (await client.open(this.broker.port, true, false)) client.leave();
  }

  /** The topics of a keeper that is away hold what it has published, not more and not less. */
  private async judgeRetained(): Promise<void> {
    const found = await readRetained(this.broker.port, this.shards, 'kept/#');
    for (const member of this.members) for (const topic of member.keptTopics()) this.checker.foundRetained(topic, found.get(topic));
  }

  /** Everybody connects; everything that was promised comes, and nothing else. */
  private async drain(port: number, isLast: boolean): Promise<void> {
    const { checker } = this;
    this.result.drains++;
    const herald = this.members.find(({ role }) => role === 'herald')!;
    const present = this.members.filter(({ role, clientId }) => {
      if (role === 'passer') return checker.mayHaveSession(clientId);
      return role !== 'late' || isLast || checker.round >= this.firstRounds.get(clientId)!;
    });
    if (await drain(port, present, herald, checker, this.conditions)) await this.judgeRetained();
  }
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const rest = [...items];
  const result: T[] = [];
  while (rest.length > 0) result.push(...rest.splice(random.below(rest.length), 1));
  return result;
}
