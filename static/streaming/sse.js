/**
 * Server-Sent Events out of bytes, by the WHATWG's rules.
 *
 * Takes any chunking, the three line ends, a byte order mark and characters cut in
 * two. An event that the stream's end cuts off is never given.
 */

/**
 * @typedef {object} ServerSentEvent
 * @property {string} event its name, "message" when the stream gives none
 * @property {string} data its lines, joined by LF
 * @property {string} id the last event id as of this event, "" before the first
 */

export class EventStreamParser {
  /** The last event id seen: what to resume after. */
  lastEventId = "";
  /** @type {number | undefined} Milliseconds to wait before connecting again. */
  retry;

  #decoder = new TextDecoder();
  #unended = "";
  #afterCarriageReturn = false;
  #event = "";
  /** @type {string[]} */
  #data = [];

  /**
   * The events that this chunk completes.
   *
   * @param {Uint8Array} chunk
   * @returns {Generator<ServerSentEvent, void, undefined>}
   */
  *push(chunk) {
    for (const line of this.#lines(chunk)) {
      if (line !== "") this.#readField(line);
      else if (this.#data.length) yield this.#take();
      else this.#event = "";
    }
  }

  /** @param {Uint8Array} chunk */
  *#lines(chunk) {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === "") return;
    // A CR ends its line at once; the LF that may follow belongs to it.
    if (this.#afterCarriageReturn && text[0] === "\n") text = text.slice(1);
    this.#afterCarriageReturn = text.endsWith("\r");
    let start = 0;
    for (const end of text.matchAll(/\r\n?|\n/g)) {
      yield this.#unended + text.slice(start, end.index);
      this.#unended = "";
      start = end.index + end[0].length;
    }
    this.#unended += text.slice(start);
  }

  /** @param {string} line */
  #readField(line) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.lastEventId = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @returns {ServerSentEvent} */
  #take() {
    const event = this.#event || "message";
    const data = this.#data.join("\n");
    this.#event = "";
    this.#data = [];
    return { event, data, id: this.lastEventId };
  }
}
