/**
 * A first-in first-out list of objects on a growing power-of-two array, with mask arithmetic and no allocation per entry.
 *
 *   items: | . | . | head | x | x | x | tail | . |      (head + count) & mask = tail
 *
 * It has no bound of its own: who owns one states and counts the bound. Emptied slots are cleared, so nothing is kept alive by a list that shrank.
 *
 * Hot path.
 */
export class Fifo<T extends object> {
  count: number;
  private items: (T | undefined)[];
  private head: number;

  constructor() {
    this.count = 0;
    this.items = [];
    this.head = 0;
  }

  push(item: T): void {
    if (this.count === this.items.length) this.grow();
    this.items[(this.head + this.count) & (this.items.length - 1)] = item;
    this.count++;
  }

  /** The oldest entry, left in place. */
  peek(): T | undefined {
    return this.count === 0 ? undefined : this.items[this.head];
  }

  /** The entry `index` places behind the oldest. */
  at(index: number): T | undefined {
    return index >= this.count ? undefined : this.items[(this.head + index) & (this.items.length - 1)];
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.count--;
    if (this.count === 0 && this.items.length > 1024) {
      // A burst must not leave its array behind.
      this.items = [];
      this.head = 0;
    }
    return item;
  }

  /** Removes what `isNeedless` says; the others keep their order. Walks all of it. */
  drop(isNeedless: (item: T) => boolean): void {
    for (let left = this.count; left > 0; left--) {
      const item = this.shift()!;
      if (!isNeedless(item)) this.push(item);
    }
  }

  private grow(): void {
    const old = this.items;
    const size = old.length === 0 ? 4 : old.length * 2;
    const grown: (T | undefined)[] = [];
    for (let i = 0; i < size; i++) grown.push(i < this.count ? old[(this.head + i) & (old.length - 1)] : undefined);
    this.items = grown;
    this.head = 0;
  }
}
