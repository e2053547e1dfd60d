/** Whether who reads something that grows is at its end, and so wants to see what comes. */

/** So near to the end, in px, who goes down counts as being there. */
const NEAR = 80;
/** Positions are rounded. */
const NOTHING = 2;

export class EndFollower {
  following = true;
  #position = 0;

  /**
   * It was scrolled. Only who goes up leaves the end: by however little, as it goes on
   * growing. What comes in moves the end away too, and what shrinks moves all up.
   *
   * @param {number} position in px from the top
   * @param {number} below how far away the end is
   */
  scrolled(position, below) {
    if (position < this.#position && below > NOTHING) this.following = false;
    else if (below < NEAR) this.following = true;
    this.#position = position;
  }

  /**
   * The end was shown to the reader.
   *
   * @param {number} position
   */
  shown(position) {
    this.#position = position;
  }
}
