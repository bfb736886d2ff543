/**
 * Observatory: what the supervisor sees of the whole broker. Once a second it looks at the memory that all threads share, judges alarms, and takes samples for charts; it also
 * passes spans on to a collector of traces.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.ts';
import type { Settings, TracingSettings, WebhookSettings } from '../base/settings.ts';
import { counter, countersRow } from '../shard/counters.ts';
import { Measures, supervisorRow } from '../shard/measures.ts';
import type { OtlpSpan } from '../shard/otlp-spans.ts';
import { Vitals } from '../shard/vitals.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { alarmRules } from './alarm-rules.ts';
import { AlarmWebhook, readSecret } from './alarm-webhook.ts';
import { type Alarm, type AlarmEvent, Alarms } from './alarms.ts';
import type { AskDesk } from './ask-desk.ts';
import type { ConfigIssue } from './config-schema.ts';
import type { LiveChange } from './live-settings.ts';
import { OtlpExporter } from './otlp-exporter.ts';
import { SAMPLE_SECONDS, Samples } from './samples.ts';
import type { SharedMemory } from './wiring.ts';

const ACTIVE = counter('alarms/active');
const RAISED = counter('alarms/raised');
const LOOK_MILLISECONDS = 1000;

export interface ObservatoryWays {
  readonly certificates: () => readonly (CertificateFiles | null)[];
  /** An event for `$events/…`. */
  readonly event: (name: AlarmEvent, facts: object) => void;
}

export class Observatory {
  private readonly settings: Settings;
  private readonly log: Log;
  private readonly ways: ObservatoryWays;
  /** The supervisor's counters stand in the row of shard 0, which does not write them. */
  private readonly counters: Float64Array;
  private readonly vitals: Vitals;
  private readonly samples: Samples;
  private readonly alarms: Alarms;
  private webhook: AlarmWebhook | null;
  private exporter: OtlpExporter | null;
  /** Those that hold now. */
  private webhookSettings: WebhookSettings;
  private tracing: TracingSettings;
  private timer: NodeJS.Timeout | null;
  private looks: number;

  /** @throws StartError with one clear line */
  constructor(settings: Settings, memory: SharedMemory, log: Log, asks: AskDesk, ways: ObservatoryWays) {
    const { counters, measures } = memory;
    const { shards, node, alarms, tracing } = settings;
    this.settings = settings;
    this.log = log;
    this.ways = ways;
    this.counters = countersRow(counters, 0);
    this.vitals = new Vitals(new Measures(measures, supervisorRow(shards)), LOOK_MILLISECONDS);
    this.samples = new Samples(counters, measures, shards);
    this.alarms = new Alarms(alarmRules({ settings, counters, measures, certificates: ways.certificates }), alarms.rules);
    this.alarms.changed = (event, alarm) => this.alarmChanged(event, alarm);
    this.webhookSettings = alarms.webhook;
    this.tracing = tracing;
    this.webhook = alarms.webhook.url === '' ? null : new AlarmWebhook(alarms.webhook, this.counters, log);
    this.exporter = tracing.otlp === '' ? null : new OtlpExporter(tracing, node, this.counters, log);
    this.timer = null;
    this.looks = 0;
    asks.handle('samples', (seconds: number) => this.samples.answer(seconds));
    asks.handle('alarms', ({ state, limit, cursor }: { state: Alarm['state'] | null; limit: number; cursor: string | null }) =>
      this.alarms.list(state, limit, cursor),
    );
    asks.handle('acknowledge-alarm', ({ id, by }: { id: string; by: string }) => this.alarms.acknowledge(id, by) ?? false);
    asks.handle('otlp-spans', ({ spans, shard }: { spans: readonly OtlpSpan[]; shard: number }) => this.exporter?.add(spans, shard));
  }

  /** Begins to look: all shards serve. */
  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_MILLISECONDS);
    this.timer.unref();
  }

  /** What is wrong with settings that are to hold from now on. */
  readonly check = ({ alarms }: Settings): readonly ConfigIssue[] => {
    const { url, secret } = alarms.webhook;
    if (url === '' || secret === '') return [];
    try {
      readSecret(secret);
      return [];
    } catch (error) {
      return [{ path: ['alarms', 'webhook', 'secret'], message: (error as Error).message }];
    }
  };

  /** Goes on with other settings, which `check` has passed. What waits for the old receivers is still sent, or lost with them. */
  replace({ alarms, tracing }: Pick<LiveChange, 'alarms' | 'tracing'>): void {
    if (alarms !== undefined) {
      if (!isDeepStrictEqual(alarms.webhook, this.webhookSettings)) {
        this.webhookSettings = alarms.webhook;
        const before = this.webhook;
        this.webhook = alarms.webhook.url === '' ? null : new AlarmWebhook(alarms.webhook, this.counters, this.log);
        void before?.stop();
      }
      this.alarms.replace(alarms.rules);
    }
    if (tracing !== undefined && !isDeepStrictEqual(tracing, this.tracing)) {
      this.tracing = tracing;
      const before = this.exporter;
      this.exporter = tracing.otlp === '' ? null : new OtlpExporter(tracing, this.settings.node, this.counters, this.log);
      void before?.stop();
    }
  }

  private look(): void {
    this.vitals.beat();
    this.alarms.look(performance.now());
    this.counters[ACTIVE] = this.alarms.active.length;
    this.counters[RAISED] = this.alarms.raisedCount;
    if (++this.looks % SAMPLE_SECONDS === 0) this.samples.take();
  }

  private alarmChanged(event: AlarmEvent, alarm: Alarm): void {
    const { id, rule, subject, message, value, threshold, unit, raisedAt, clearedAt } = alarm;
    const facts = { id, rule, subject, message, value, threshold, unit };
    if (event === 'alarm_raised') this.log.warn(facts, 'alarm raised');
    else this.log.info(facts, 'alarm cleared');
    this.ways.event(event, {
      ...facts,
      raised_at: Date.parse(raisedAt),
      ...(clearedAt !== null && { cleared_at: Date.parse(clearedAt) }),
    });
    this.webhook?.tell(event, this.settings.node, alarm);
  }

  async stop(): Promise<void> {
    if (this.timer !== null) clearInterval(this.timer);
    await Promise.all([this.webhook?.stop(), this.exporter?.stop()]);
  }
}
