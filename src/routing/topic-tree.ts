/*
 * A tree of topic levels: topic filter -> one value, and the values of all filters that match a topic name; or the other way round,
 * topic name -> one value, and the values of all names that a filter matches. It trusts its input: filters and names are checked
 * before they come here, `$share/…/` is already taken off, and the number of levels is bounded (recursion goes one call per level).
 * Invariant: every node leads to at least one value; removing the last value of a branch removes the branch.
 *
 * Hot path.
 */

const SLASH = '/';
const DOLLAR = 0x24;
const HASH = 0x23;
const PLUS = 0x2b;

/**
 * One level. A single child hangs on the node itself, a Map comes with the second: most nodes of large trees have one child or none,
 * and an empty Map alone takes more memory than the node.
 */
export class TopicNode<V> {
  readonly level: string;
  /** Value of the filter that ends at this node. */
  value: V | undefined = undefined;
  /** Value of the filter that ends in `#` below this node. */
  restValue: V | undefined = undefined;
  /** Child for the level `+`. */
  plus: TopicNode<V> | null = null;
  only: TopicNode<V> | null = null;
  many: Map<string, TopicNode<V>> | null = null;

  constructor(level: string) {
    this.level = level;
  }

  child(level: string): TopicNode<V> | null {
    if (level === '+') return this.plus;
    if (this.only !== null) return this.only.level === level ? this.only : null;
    return this.many === null ? null : (this.many.get(level) ?? null);
  }

  add(child: TopicNode<V>): void {
    if (child.level === '+') {
      this.plus = child;
    } else if (this.many !== null) {
      this.many.set(child.level, child);
    } else if (this.only === null) {
      this.only = child;
    } else {
      this.many = new Map();
      this.many.set(this.only.level, this.only);
      this.many.set(child.level, child);
      this.only = null;
    }
  }

  remove(child: TopicNode<V>): void {
    if (child.level === '+') {
      this.plus = null;
    } else if (this.many === null) {
      this.only = null;
    } else {
      this.many.delete(child.level);
      if (this.many.size > 1) return;
      for (const left of this.many.values()) this.only = left;
      this.many = null;
    }
  }

  isEmpty(): boolean {
    return this.value === undefined && this.restValue === undefined && this.plus === null && this.only === null && this.many === null;
  }
}

/** Map from topic filters (or topic names) to values, none of which is `undefined`. */
export class TopicTree<V> {
  /** Number of values. */
  size = 0;
  /** Its levels are the first ones. Others than this tree only read it (`topic-walk.ts`). */
  readonly root: TopicNode<V> = new TopicNode<V>('');
  private readonly path: TopicNode<V>[] = [];

  /** The value of exactly this filter, or undefined. */
  get(filter: string): V | undefined {
    const node = this.descend(filter, false);
    if (node === null) return undefined;
    return endsInRest(filter) ? node.restValue : node.value;
  }

  /** Whether there is a value below this first level. */
  hasBelow(level: string): boolean {
    return this.root.child(level) !== null;
  }

  /** Sets the value of a filter and returns the value that it replaces. */
  set(filter: string, value: V): V | undefined {
    const node = this.descend(filter, true)!;
    let replaced: V | undefined;
    if (endsInRest(filter)) {
      replaced = node.restValue;
      node.restValue = value;
    } else {
      replaced = node.value;
      node.value = value;
    }
    if (replaced === undefined) this.size++;
    return replaced;
  }

  /** Removes a filter and returns its value, or undefined when there is none. */
  delete(filter: string): V | undefined {
    const path = this.path;
    const node = this.descend(filter, false);
    let value: V | undefined;
    if (node !== null) {
      if (endsInRest(filter)) {
        value = node.restValue;
        node.restValue = undefined;
      } else {
        value = node.value;
        node.value = undefined;
      }
    }
    if (value !== undefined) {
      this.size--;
      for (let depth = path.length - 1; depth > 0 && path[depth]!.isEmpty(); depth--) path[depth - 1]!.remove(path[depth]!);
    }
    path.length = 0;
    return value;
  }

  /** Appends to `into` the value of every filter that matches the topic name. Order is not defined. */
  match(topic: string, into: V[]): void {
    if (topic.charCodeAt(0) === DOLLAR) {
      // [MQTT-4.7.2-1] A wildcard in the first level never matches a name that begins with $.
      let end = topic.indexOf(SLASH);
      if (end < 0) end = topic.length;
      const child = literalChild(this.root, topic, 0, end);
      if (child !== null) matchFrom(child, topic, end + 1, into);
      return;
    }
    matchFrom(this.root, topic, 0, into);
  }

  /** For a tree of topic names: appends to `into` the value of every name that the filter matches. Order is not defined. */
  matchNames(filter: string, into: V[]): void {
    matchNamesFrom(this.root, filter, 0, into);
  }

  /** Visits every value. The tree must not change meanwhile. */
  visitAll(visit: (value: V) => void): void {
    visitFrom(this.root, visit);
  }

  /** Walks down to the node of a filter (for one that ends in `#`: of the level before) and leaves the nodes passed in `path`. */
  private descend(filter: string, create: boolean): TopicNode<V> | null {
    const path = this.path;
    path.length = 0;
    let node = this.root;
    path.push(node);
    const stop = endsInRest(filter) ? filter.length - 1 : filter.length + 1;
    for (let at = 0; at < stop; ) {
      let end = filter.indexOf(SLASH, at);
      if (end < 0) end = filter.length;
      const level = filter.substring(at, end);
      let child = node.child(level);
      if (child === null) {
        if (!create) return null;
        child = new TopicNode<V>(level);
        node.add(child);
      }
      node = child;
      path.push(node);
      at = end + 1;
    }
    return node;
  }
}

function endsInRest(filter: string): boolean {
  const last = filter.length - 1;
  return filter.charCodeAt(last) === HASH && (last === 0 || filter.charCodeAt(last - 1) === 0x2f);
}

/** The child for the literal level `topic[at, end)`. No string is cut off where there is but one child. */
function literalChild<V>(node: TopicNode<V>, topic: string, at: number, end: number): TopicNode<V> | null {
  const only = node.only;
  if (only !== null) return only.level.length === end - at && topic.startsWith(only.level, at) ? only : null;
  return node.many === null ? null : (node.many.get(topic.substring(at, end)) ?? null);
}

/** Matches the levels of `topic` from `at` on below `node`; `at` is `topic.length + 1` when all levels are used up. */
function matchFrom<V>(node: TopicNode<V>, topic: string, at: number, into: V[]): void {
  // `#` stands for the parent level as well as for everything below it.
  if (node.restValue !== undefined) into.push(node.restValue);
  if (at > topic.length) {
    if (node.value !== undefined) into.push(node.value);
    return;
  }
  if (node.only === null && node.many === null && node.plus === null) return;
  let end = topic.indexOf(SLASH, at);
  if (end < 0) end = topic.length;
  if (node.plus !== null) matchFrom(node.plus, topic, end + 1, into);
  const child = literalChild(node, topic, at, end);
  if (child !== null) matchFrom(child, topic, end + 1, into);
}

/** The same with the roles changed: the tree holds names, and `filter` may hold wildcards. */
function matchNamesFrom<V>(node: TopicNode<V>, filter: string, at: number, into: V[]): void {
  if (at > filter.length) {
    if (node.value !== undefined) into.push(node.value);
    return;
  }
  let end = filter.indexOf(SLASH, at);
  if (end < 0) end = filter.length;
  const first = end - at === 1 ? filter.charCodeAt(at) : 0;
  if (first === HASH && at > 0) {
    collectFrom(node, into);
  } else if (first === HASH || first === PLUS) {
    if (node.only !== null) matchNameChild(node.only, filter, at, end, into);
    if (node.many !== null) for (const child of node.many.values()) matchNameChild(child, filter, at, end, into);
  } else {
    const child = literalChild(node, filter, at, end);
    if (child !== null) matchNamesFrom(child, filter, end + 1, into);
  }
}

/** One child below a wildcard that stands at `filter[at, end)`. */
function matchNameChild<V>(child: TopicNode<V>, filter: string, at: number, end: number, into: V[]): void {
  // [MQTT-4.7.2-1]
  if (at === 0 && child.level.charCodeAt(0) === DOLLAR) return;
  if (filter.charCodeAt(at) === HASH) collectFrom(child, into);
  else matchNamesFrom(child, filter, end + 1, into);
}

/** Appends the values of `node` and of all names below it. */
function collectFrom<V>(node: TopicNode<V>, into: V[]): void {
  if (node.value !== undefined) into.push(node.value);
  if (node.only !== null) collectFrom(node.only, into);
  if (node.many !== null) for (const child of node.many.values()) collectFrom(child, into);
}

function visitFrom<V>(node: TopicNode<V>, visit: (value: V) => void): void {
  if (node.value !== undefined) visit(node.value);
  if (node.restValue !== undefined) visit(node.restValue);
  if (node.plus !== null) visitFrom(node.plus, visit);
  if (node.only !== null) visitFrom(node.only, visit);
  if (node.many !== null) for (const child of node.many.values()) visitFrom(child, visit);
}
