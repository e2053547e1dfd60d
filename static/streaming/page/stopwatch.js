/** How long something goes on: by the server's clock, and by ours since it last spoke. */

const TICK_MS = 1000;

export class Stopwatch {
  #startedAt;
  #toldAt;
  #heardAt = performance.now();
  #timer;

  /**
   * @param {number} timestamp of its first event, in ms
   * @param {(ms: number) => void} tell how long it is, about each second while it runs
   */
  constructor(timestamp, tell) {
    this.#startedAt = this.#toldAt = timestamp;
    this.#timer = setInterval(() => tell(this.ms), TICK_MS);
  }

  /** @param {number} timestamp of a later event, in ms */
  hear(timestamp) {
    this.#toldAt = timestamp;
    this.#heardAt = performance.now();
  }

  get ms() {
    return this.#toldAt - this.#startedAt + performance.now() - this.#heardAt;
  }

  /**
   * @param {number} timestamp of the event that ended it, in ms
   * @returns {number} the whole time, in ms
   */
  stop(timestamp) {
    clearInterval(this.#timer);
    return timestamp - this.#startedAt;
  }
}
