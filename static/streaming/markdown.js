/**
 * The Markdown that models write, as a tree: paragraphs, headings, lists, code,
 * strong and emphasised text. Everything else, HTML above all, stays text.
 *
 * Line breaks are kept. However odd the text, the time it takes is about linear.
 */

import { inline } from "./markdown-inline.js";

/** @typedef {import("./markdown-inline.js").Branch} Branch */

const FENCE = /^ *(`{3,}|~{3,})[^`]*$/;
const HEADING = /^#{1,6} +(.*)$/;
const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)]) +(.*)$/;
const INDENT = /^ */;
const DEEPEST_LIST = 8;

/**
 * @param {string} source
 * @returns {Branch[]}
 */
export function parse(source) {
  return blocksOf(source.split("\n"), 0);
}

/**
 * How much of a growing source is settled: up to its last blank line outside of code.
 *
 * @param {string} source
 */
export function settledLength(source) {
  const fence = new Fence();
  let settled = 0;
  let at = 0;
  for (const line of source.split("\n").slice(0, -1)) {
    at += line.length + 1;
    if (!fence.holds(line) && isBlank(line)) settled = at;
  }
  return settled;
}

/**
 * @param {string[]} lines
 * @param {number} depth of the list that they are in
 */
function blocksOf(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const [block, next] = readBlock(lines, at, depth);
    if (block) blocks.push(block);
    at = next;
  }
  return blocks;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {[Branch | undefined, number]} a block, and the line after it
 */
function readBlock(lines, at, depth) {
  if (isBlank(lines[at])) return [undefined, at + 1];
  if (FENCE.test(lines[at])) return readCode(lines, at);
  const heading = HEADING.exec(lines[at]);
  if (heading) return [{ tag: "h4", children: inline(heading[1]) }, at + 1];
  if (ITEM.test(lines[at]) && depth < DEEPEST_LIST) return readList(lines, at, depth);
  const end = endOf(lines, at, (line) => isBlank(line) || startsBlock(line));
  const text = lines.slice(at, end).join("\n").trimStart();
  return [{ tag: "p", children: inline(text) }, end];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {[Branch, number]}
 */
function readCode(lines, at) {
  const fence = new Fence();
  fence.holds(lines[at]);
  const end = endOf(lines, at, (line) => !fence.holds(line));
  const outdent = new RegExp(`^ {0,${indentOf(lines[at])}}`);
  const code = lines.slice(at + 1, end).map((line) => line.replace(outdent, "")).join("\n");
  return [{ tag: "pre", children: [{ tag: "code", children: [code] }] }, end + 1];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {[Branch, number]}
 */
function readList(lines, at, depth) {
  const [, indent, number] = itemAt(lines[at]);
  const isNext = (/** @type {string} */ line) =>
    isBlank(line) || (startsBlock(line) && indentOf(line) <= indent.length);
  const items = [];
  for (;;) {
    const fence = new Fence();
    const end = endOf(lines, at, (line) => !fence.holds(line) && isNext(line));
    items.push(readItem(lines.slice(at, end), depth));
    at = end;
    const next = ITEM.exec(lines[at] ?? "");
    if (!next || Boolean(next[2]) !== Boolean(number)) break;
    if (next[1].length < indent.length) break;
  }
  if (!number) return [{ tag: "ul", children: items }, at];
  return [{ tag: "ol", children: items, start: Number(number) }, at];
}

/**
 * @param {string[]} lines
 * @param {number} depth
 * @returns {Branch}
 */
function readItem([first, ...more], depth) {
  const [, , , text] = itemAt(first);
  const isBelow = more.findIndex(startsBlock);
  const continued = isBelow < 0 ? more : more.slice(0, isBelow);
  const below = isBelow < 0 ? [] : blocksOf(more.slice(isBelow), depth + 1);
  const paragraph = [text, ...continued.map((line) => line.trim())].join("\n");
  return { tag: "li", children: [...inline(paragraph), ...below] };
}

/** @param {string} line */
function itemAt(line) {
  return /** @type {RegExpExecArray} */ (ITEM.exec(line));
}

/** @param {string} line */
function indentOf(line) {
  return INDENT.exec(line)?.[0].length ?? 0;
}

/** @param {string} line */
function startsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || ITEM.test(line);
}

/** @param {string} line */
function isBlank(line) {
  return line.trim() === "";
}

/** Follows lines into code and out of it. */
class Fence {
  #open = "";

  /**
   * The line opens code or is in it; the one that closes it is not.
   *
   * @param {string} line
   */
  holds(line) {
    const fence = FENCE.exec(line)?.[1] ?? "";
    if (!this.#open) this.#open = fence;
    else if (fence.startsWith(this.#open) && fence === line.trim()) this.#open = "";
    return this.#open !== "";
  }
}

/**
 * The first line after `at` that is an end, or the end of all.
 *
 * @param {string[]} lines
 * @param {number} at
 * @param {(line: string) => boolean} isEnd
 */
function endOf(lines, at, isEnd) {
  let end = at + 1;
  while (end < lines.length && !isEnd(lines[end])) end += 1;
  return end;
}
