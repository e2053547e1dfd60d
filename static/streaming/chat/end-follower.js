/** Decides whether a view of growing content follows its end. */

/** Distance from the end, in px, at which scrolling down resumes following. */
const NEAR = 80;
/** Tolerance in px for rounded positions. */
const ROUNDING = 2;

export class EndFollower {
  following = true;
  #position = 0;

  /**
   * Handle a scroll event. Only scrolling up stops following, by any distance, because the
   * content keeps growing. New content also increases `below`, and shrinking content also
   * decreases `position`.
   *
   * @param {number} position in px from the top
   * @param {number} below distance to the end
   */
  scrolled(position, below) {
    if (position < this.#position && below > ROUNDING) this.following = false;
    else if (below < NEAR) this.following = true;
    this.#position = position;
  }

  /**
   * Record the position after the page itself has scrolled to the end.
   *
   * @param {number} position
   */
  shown(position) {
    this.#position = position;
  }
}
