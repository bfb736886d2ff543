/*
 * A walk over a tree of topic names, for people who look through it: in steps, so that it may take many turns, and only where something of use can be. The tree may change
 * between two steps: what is there all the time is visited.
 *
 * Keys order topics level by level: `a/b` comes before `a-b`, so all that lies below a topic stands together behind it.
 */
import type { TopicNode } from './topic-tree.ts';

const DOLLAR = 0x24;

/** The key of a topic: no level holds U+0000 [MQTT-1.5.4-2], and nothing is smaller. */
export function keyOfTopic(topic: string): string {
  return topic.replaceAll('/', '\u0000');
}

export function topicOfKey(key: string): string {
  return key.replaceAll('\u0000', '/');
}

/** Which keys are of use; it may become narrower while the walk goes on. */
export interface WalkRange {
  /** Only keys behind this one; '': all. */
  readonly after: string;
  /** Only keys before this one; null: all. */
  readonly before: string | null;
}

interface Frame<V> {
  readonly node: TopicNode<V>;
  readonly key: string;
  /** Levels of the filter that are used up. */
  readonly depth: number;
  readonly children: Iterator<TopicNode<V>>;
}

export class TopicWalk<V> {
  private readonly levels: readonly string[];
  private readonly range: WalkRange;
  private readonly visit: (key: string, value: V) => void;
  private readonly frames: Frame<V>[];

  /** @param filter a valid Topic Filter; @param visit called with each name that it matches and that is in the range, in no order */
  constructor(root: TopicNode<V>, filter: string, range: WalkRange, visit: (key: string, value: V) => void) {
    this.levels = filter.split('/');
    this.range = range;
    this.visit = visit;
    this.frames = [{ node: root, key: '', depth: 0, children: this.childrenOf(root, 0) }];
  }

  /** Looks at up to `count` levels of topics. @returns false at the end */
  step(count: number): boolean {
    const { frames } = this;
    for (let left = count; left > 0; left--) {
      const frame = frames.at(-1);
      if (frame === undefined) return false;
      const { value: child, done } = frame.children.next();
      if (done === true) frames.pop();
      else this.enter(frame, child);
    }
    return frames.length > 0;
  }

  private enter({ depth, key: parentKey }: Frame<V>, child: TopicNode<V>): void {
    const { levels } = this;
    // [MQTT-4.7.2-1]
    if (depth === 0 && child.level.charCodeAt(0) === DOLLAR && (levels[0] === '#' || levels[0] === '+')) return;
    const key = depth === 0 ? child.level : parentKey.concat('\u0000', child.level);
    const { after, before } = this.range;
    // Whatever lies below begins with this key.
    if ((key < after && !after.startsWith(key)) || (before !== null && key > before)) return;
    const isRest = levels[depth] === '#' || this.isInRest(depth);
    const used = depth + 1;
    const matches = isRest || used === levels.length || (levels[used] === '#' && used === levels.length - 1);
    if (matches && child.value !== undefined && key > after && (before === null || key < before)) this.visit(key, child.value);
    if (isRest || used < levels.length) this.frames.push({ node: child, key, depth: used, children: this.childrenOf(child, used) });
  }

  /** Whether `#` stands before this level. */
  private isInRest(depth: number): boolean {
    return depth >= this.levels.length && this.levels.at(-1) === '#';
  }

  private *childrenOf(node: TopicNode<V>, depth: number): Generator<TopicNode<V>, undefined> {
    const level = this.levels[depth];
    if (level !== undefined && level !== '#' && level !== '+') {
      const child = node.child(level);
      if (child !== null) yield child;
      return undefined;
    }
    // Either may become the other meanwhile; what was held by the one goes on to be reached.
    const { only, many } = node;
    if (only !== null) yield only;
    if (many !== null) yield* many.values();
    return undefined;
  }
}
