/**
 * A first-in, first-out queue.
 *
 * @module
 */

/** A first-in, first-out queue. `Array.shift()` moves all elements of a long array. */
export class Queue<T> {
  readonly #items: (T | undefined)[] = [];
  #first = 0;

  /** How many items are in the queue. */
  get size(): number {
    return this.#items.length - this.#first;
  }

  /** Appends an item. */
  push(item: T) {
    this.#items.push(item);
  }

  /** Removes and returns the oldest item, or returns `undefined` if there is none. */
  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#first];
    this.#items[this.#first++] = undefined; // an item that has been removed must not use memory any longer
    // At most half of the array is unused, and each item is moved once on average.
    if (2 * this.#first >= this.#items.length) {
      this.#items.splice(0, this.#first);
      this.#first = 0;
    }
    return item;
  }
}
