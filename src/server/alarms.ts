/**
 * Alarms: values against thresholds, once a second.
 *
 *   good ── threshold reached, for so long ──▶ raised ── the other value reached, for so long ──▶ cleared
 *
 * Between the two values nothing changes, so a value that swings around one of them raises one alarm and not a hundred. A rule may be about several subjects (shards, listeners),
 * each with a state of its own. What is cleared stays in a list of fixed length.
 */
import type { AlarmRuleName, AlarmRuleSettings } from '../base/settings.ts';

const CLEARED_MAX = 1000;
/** Active alarms: shards and listeners are bounded, and so are these. */
const WATCHES_MAX = 4096;

/** What a rule has measured of one subject. */
export interface Reading {
  /** `shard 1`, `listener 2`; '': the whole broker. */
  readonly subject: string;
  readonly value: number;
}

/** How a rule is measured and spoken of. */
export interface AlarmRule {
  readonly name: AlarmRuleName;
  readonly unit: string;
  /** Small values are the bad ones. */
  readonly isFalling: boolean;
  /** A sentence about the value. */
  readonly say: (reading: Reading) => string;
  readonly read: () => readonly Reading[];
}

export interface Alarm {
  readonly id: string;
  readonly rule: AlarmRuleName;
  readonly subject: string;
  readonly state: 'active' | 'cleared';
  readonly message: string;
  readonly value: number;
  readonly threshold: number;
  readonly unit: string;
  readonly raisedAt: string;
  readonly clearedAt: string | null;
  readonly acknowledgedAt: string | null;
  readonly acknowledgedBy: string | null;
}

export type AlarmEvent = 'alarm_raised' | 'alarm_cleared';

/** One rule with one subject. */
interface Watch {
  alarm: Alarm | null;
  /** Since when the value is beyond the one that counts now; -1: it is not. */
  since: number;
}

export class Alarms {
  /** Told of each alarm that is raised or cleared. */
  changed: (event: AlarmEvent, alarm: Alarm) => void;
  private readonly rules: readonly AlarmRule[];
  private settings: Readonly<Record<AlarmRuleName, AlarmRuleSettings>>;
  private readonly watches: Map<string, Watch>;
  /** Newest last. */
  private readonly cleared: Alarm[];
  private readonly idPrefix: string;
  private count: number;

  constructor(rules: readonly AlarmRule[], settings: Readonly<Record<AlarmRuleName, AlarmRuleSettings>>) {
    this.changed = () => {};
    this.rules = rules;
    this.settings = settings;
    this.watches = new Map();
    this.cleared = [];
    // Those of an earlier start have others.
    this.idPrefix = Date.now().toString(36);
    this.count = 0;
  }

  /** Goes on with other thresholds: they count from the next look on. What nobody looks at any more is no alarm. */
  replace(settings: Readonly<Record<AlarmRuleName, AlarmRuleSettings>>): void {
    this.settings = settings;
    for (const { name } of this.rules)
      if (!settings[name].enabled)
        for (const [key, { alarm }] of this.watches)
          if (key.startsWith(`${name} `)) {
            this.watches.delete(key);
            if (alarm !== null) this.clear(alarm, alarm.value);
          }
  }

  /** Looks at all values. @param now milliseconds of a clock that only runs forward */
  look(now: number): void {
    for (const rule of this.rules) {
      const settings = this.settings[rule.name];
      if (!settings.enabled) continue;
      const seen = new Set<string>();
      for (const reading of rule.read()) {
        seen.add(reading.subject);
        this.judge(rule, settings, reading, now);
      }
      // A subject that is there no more has nothing wrong.
      for (const [key, { alarm }] of this.watches)
        if (key.startsWith(`${rule.name} `) && !seen.has(key.slice(rule.name.length + 1))) {
          this.watches.delete(key);
          if (alarm !== null) this.clear(alarm, alarm.value);
        }
    }
  }

  private judge(rule: AlarmRule, settings: AlarmRuleSettings, reading: Reading, now: number): void {
    const { value, subject } = reading;
    const key = `${rule.name} ${subject}`;
    let watch = this.watches.get(key);
    const { threshold, clear, forMilliseconds } = settings;
    const isBad = rule.isFalling ? value <= threshold : value >= threshold;
    const isGood = rule.isFalling ? value >= clear : value <= clear;
    if (watch === undefined) {
      if (!isBad || this.watches.size >= WATCHES_MAX) return;
      watch = { alarm: null, since: -1 };
      this.watches.set(key, watch);
    }
    const { alarm } = watch;
    if (alarm !== null) watch.alarm = { ...alarm, value };
    // Where both hold (a clear value on the wrong side of the threshold), bad is bad.
    const isTurning = alarm === null ? isBad : isGood && !isBad;
    if (!isTurning) {
      watch.since = -1;
      if (alarm === null) this.watches.delete(key);
      return;
    }
    if (watch.since < 0) watch.since = now;
    if (now - watch.since < forMilliseconds) return;
    watch.since = -1;
    if (alarm === null) watch.alarm = this.raise(rule, settings, reading);
    else {
      this.watches.delete(key);
      this.clear(alarm, value);
    }
  }

  private raise(rule: AlarmRule, { threshold }: AlarmRuleSettings, reading: Reading): Alarm {
    const alarm: Alarm = {
      id: `${this.idPrefix}-${++this.count}`,
      rule: rule.name,
      subject: reading.subject,
      state: 'active',
      message: rule.say(reading),
      value: reading.value,
      threshold,
      unit: rule.unit,
      raisedAt: new Date().toISOString(),
      clearedAt: null,
      acknowledgedAt: null,
      acknowledgedBy: null,
    };
    this.changed('alarm_raised', alarm);
    return alarm;
  }

  private clear(alarm: Alarm, value: number): void {
    const cleared: Alarm = { ...alarm, state: 'cleared', value, clearedAt: new Date().toISOString() };
    this.cleared.push(cleared);
    if (this.cleared.length > CLEARED_MAX) this.cleared.shift();
    this.changed('alarm_cleared', cleared);
  }

  /** Those that are raised now. */
  get active(): Alarm[] {
    const found: Alarm[] = [];
    for (const { alarm } of this.watches.values()) if (alarm !== null) found.push(alarm);
    return found;
  }

  get raisedCount(): number {
    return this.count;
  }

  /** The newest first. @param cursor ID of the last one of the answer before; null: from the beginning */
  list(state: Alarm['state'] | null, limit: number, cursor: string | null): { data: Alarm[]; next: string | null; total: number } {
    const all = [...this.cleared, ...this.active].filter((one) => state === null || one.state === state);
    all.sort((a, b) => numberOf(b.id) - numberOf(a.id));
    const from = cursor === null ? all : all.filter((one) => numberOf(one.id) < numberOf(cursor));
    const data = from.slice(0, limit);
    return { data, next: from.length > limit ? data.at(-1)!.id : null, total: all.length };
  }

  /** Somebody has seen it. @returns the alarm; null: there is none of this ID */
  acknowledge(id: string, by: string): Alarm | null {
    const seen = { acknowledgedAt: new Date().toISOString(), acknowledgedBy: by };
    for (const watch of this.watches.values()) {
      if (watch.alarm?.id !== id) continue;
      watch.alarm = { ...watch.alarm, ...seen };
      return watch.alarm;
    }
    const at = this.cleared.findIndex((one) => one.id === id);
    if (at < 0) return null;
    const known = { ...this.cleared[at]!, ...seen };
    this.cleared[at] = known;
    return known;
  }
}

/** Its place in the order of all of this start. */
function numberOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('-') + 1)) || 0;
}
