/**
 * LiveSettings: what may change while the broker runs. The configuration is read again when somebody asks for it; the live sections that are others now go to the
 * shards, and of the rest it is only said that it needs a restart.
 *
 * A configuration with a mistake changes nothing.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';

/** Sections that shards take while they run. */
export const LIVE_SECTIONS = ['authorization', 'quotas'] as const;

export type LiveSection = (typeof LIVE_SECTIONS)[number];
/** Sections as they are from now on. */
export type LiveChange = { readonly [K in LiveSection]?: Settings[K] };

/** The live sections of settings. */
export function liveSections(settings: Settings): LiveChange {
  return Object.fromEntries(LIVE_SECTIONS.map((name) => [name, settings[name]]));
}

export class LiveSettings {
  /** What holds now: as it was at the start, but for the live sections. */
  current: Settings;
  /** Told of live sections that are others now; `current` has them already. */
  changed: (change: LiveChange) => void;
  private readonly read: () => Promise<Settings>;
  private readonly log: Log;
  private reading: Promise<void>;
  /** Somebody has asked after the reading under way had begun. */
  private isDue: boolean;

  /** @param read reads the configuration again, from all its sources; rejects with what is wrong with it */
  constructor(settings: Settings, read: () => Promise<Settings>, log: Log) {
    this.current = settings;
    this.changed = () => {};
    this.read = read;
    this.log = log;
    this.reading = Promise.resolve();
    this.isDue = false;
  }

  /** Reads everything again; one reading at a time, and one more for all who ask meanwhile. */
  reload(): void {
    if (this.isDue) return;
    this.isDue = true;
    this.reading = this.reading.then(() => {
      this.isDue = false;
      return this.readAll();
    });
  }

  private async readAll(): Promise<void> {
    let next: Settings;
    try {
      next = await this.read();
    } catch (error) {
      this.log.error({ error: (error as Error).message }, 'the configuration was not read again: what it said before holds');
      return;
    }
    const others = (Object.keys(next) as (keyof Settings)[]).filter((name) => !isDeepStrictEqual(next[name], this.current[name]));
    const live = LIVE_SECTIONS.filter((name) => others.includes(name));
    const late = others.filter((name) => !live.some((one) => one === name));
    if (late.length > 0) this.log.warn({ sections: late }, 'the configuration has changes that need a restart');
    if (live.length === 0) return;
    const change: LiveChange = Object.fromEntries(live.map((name) => [name, next[name]]));
    this.current = { ...this.current, ...change };
    this.changed(change);
    this.log.info({ sections: live }, 'the configuration was read again');
  }
}
