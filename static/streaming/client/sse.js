/**
 * A parser of Server-Sent Events that follows the WHATWG specification.
 *
 * It accepts any chunking, all three line endings, a byte order mark, and characters split
 * between chunks. An event that is cut off by the end of the stream is discarded.
 */

/**
 * @typedef {object} ServerSentEvent
 * @property {string} event its name, "message" if the stream names none
 * @property {string} data its lines, joined by LF
 * @property {string} id the last event id as of this event, "" before the first
 */

const SPACE = 32;

export class EventStreamParser {
  /** The last event id received, to resume after it. */
  lastEventId = "";
  /** @type {number | undefined} Delay before reconnecting, in ms. */
  retry;

  #decoder = new TextDecoder();
  #partialLine = "";
  #afterCarriageReturn = false;
  #event = "";
  /** @type {string | undefined} */
  #data;

  /**
   * Return the events that this chunk completes.
   *
   * @param {Uint8Array} chunk
   */
  push(chunk) {
    /** @type {ServerSentEvent[]} */
    const events = [];
    const text = this.#decoder.decode(chunk, { stream: true });
    if (text === "") return events;
    // A CR ends its line immediately; an LF that follows belongs to the same line ending.
    let start = this.#afterCarriageReturn && text[0] === "\n" ? 1 : 0;
    this.#afterCarriageReturn = text.endsWith("\r");
    let lineFeed = text.indexOf("\n", start);
    let carriageReturn = text.indexOf("\r", start);
    while (lineFeed !== -1 || carriageReturn !== -1) {
      const byFeed = carriageReturn === -1 || (lineFeed !== -1 && lineFeed < carriageReturn);
      const end = byFeed ? lineFeed : carriageReturn;
      this.#endLine(text, start, end, events);
      start = !byFeed && lineFeed === end + 1 ? end + 2 : end + 1;
      if (lineFeed !== -1 && lineFeed < start) lineFeed = text.indexOf("\n", start);
      if (!byFeed) carriageReturn = text.indexOf("\r", start);
    }
    this.#partialLine += start ? text.slice(start) : text;
    return events;
  }

  /**
   * @param {string} text
   * @param {number} start
   * @param {number} end
   * @param {ServerSentEvent[]} events
   */
  #endLine(text, start, end, events) {
    if (this.#partialLine !== "") {
      const line = this.#partialLine + text.slice(start, end);
      this.#partialLine = "";
      this.#readField(line, 0, line.length);
    } else if (start !== end) {
      this.#readField(text, start, end);
    } else {
      const data = this.#data;
      if (data !== undefined) {
        events.push({ event: this.#event || "message", data, id: this.lastEventId });
      }
      this.#event = "";
      this.#data = undefined;
    }
  }

  /**
   * Parse the line from `start` to `end`.
   *
   * @param {string} text
   * @param {number} start
   * @param {number} end
   */
  #readField(text, start, end) {
    // Field names contain no line ending, so a match at `start` always ends before `end`.
    if (text.startsWith("data:", start)) {
      this.#addData(text.slice(valueAt(text, start + 5), end));
    } else if (text.startsWith("event:", start)) {
      this.#event = text.slice(valueAt(text, start + 6), end);
    } else if (text.startsWith("id:", start)) {
      this.#setId(text.slice(valueAt(text, start + 3), end));
    } else if (text.startsWith("retry:", start)) {
      const value = text.slice(valueAt(text, start + 6), end);
      if (/^[0-9]+$/.test(value)) this.retry = Number(value);
    } else {
      this.#readBareName(text.slice(start, end));
    }
  }

  /** Parse a name without a colon, whose value is empty. @param {string} name */
  #readBareName(name) {
    if (name === "data") this.#addData("");
    else if (name === "event") this.#event = "";
    else if (name === "id") this.#setId("");
  }

  /** @param {string} line */
  #addData(line) {
    this.#data = this.#data === undefined ? line : `${this.#data}\n${line}`;
  }

  /** @param {string} id */
  #setId(id) {
    if (!id.includes("\0")) this.lastEventId = id;
  }
}

/**
 * Return the start of a value, skipping one space after the colon.
 *
 * @param {string} text
 * @param {number} start
 */
function valueAt(text, start) {
  return text.charCodeAt(start) === SPACE ? start + 1 : start;
}
