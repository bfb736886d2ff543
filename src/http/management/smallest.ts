/**
 * Smallest: of much that is found in any order, the few that come next in a list.
 */
import { comparePlaces, type Place } from './place.ts';

export class Smallest<T> {
  /** In order. */
  readonly places: Place[];
  readonly values: T[];
  private readonly countMax: number;
  private readonly after: Place | null;

  /** @param after nothing up to this place counts; null: everything does */
  constructor(countMax: number, after: Place | null) {
    this.places = [];
    this.values = [];
    this.countMax = countMax;
    this.after = after;
  }

  get isFull(): boolean {
    return this.places.length >= this.countMax;
  }

  /** The last place; null: there is none. */
  get last(): Place | null {
    return this.places.at(-1) ?? null;
  }

  /** Takes what is found, where it is among the first ones. Found twice it counts once, as it was found last. */
  add(place: Place, value: T): void {
    const { places, values, after } = this;
    if (after !== null && comparePlaces(place, after) <= 0) return;
    let low = 0;
    let high = places.length;
    if (high >= this.countMax && comparePlaces(place, places[high - 1]!) > 0) return;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (comparePlaces(places[middle]!, place) < 0) low = middle + 1;
      else high = middle;
    }
    if (low < places.length && comparePlaces(places[low]!, place) === 0) {
      values[low] = value;
      return;
    }
    places.splice(low, 0, place);
    values.splice(low, 0, value);
    if (places.length <= this.countMax) return;
    places.pop();
    values.pop();
  }
}
