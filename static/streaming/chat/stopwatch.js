/** A stopwatch on the server's clock, continued by the browser's since the last event. */

const TICK_MS = 1000;

export class Stopwatch {
  #startedAt;
  #lastEventAt;
  #receivedAt = performance.now();
  #timer;

  /**
   * @param {number} timestamp of the first event, in ms
   * @param {(ms: number) => void} onTick called about each second with the elapsed time
   */
  constructor(timestamp, onTick) {
    this.#startedAt = this.#lastEventAt = timestamp;
    this.#timer = setInterval(() => onTick(this.ms), TICK_MS);
  }

  /** @param {number} timestamp of a later event, in ms */
  update(timestamp) {
    this.#lastEventAt = timestamp;
    this.#receivedAt = performance.now();
  }

  get ms() {
    return this.#lastEventAt - this.#startedAt + performance.now() - this.#receivedAt;
  }

  /**
   * @param {number} timestamp of the event that ended it, in ms
   * @returns {number} the total time, in ms
   */
  stop(timestamp) {
    clearInterval(this.#timer);
    return timestamp - this.#startedAt;
  }
}
