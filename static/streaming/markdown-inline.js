/**
 * Markdown inside a block: code, strong and emphasised text.
 *
 * Stars between letters or digits mark nothing, so that `2**3` and `5*4` stay as
 * they are.
 */

/** @typedef {"p" | "h4" | "ul" | "ol" | "li" | "pre" | "code" | "strong" | "em"} Tag */
/** @typedef {string | Branch} Tree */

/**
 * @typedef {object} Branch
 * @property {Tag} tag
 * @property {Tree[]} children
 * @property {number} [start] of an ordered list
 */

const WORD = /[\p{L}\p{N}]/u;
const MARK = /`+|\*\*?/g;

/** @type {Record<string, Tag>} */
const TAGS = { "*": "em", "**": "strong" };

/**
 * @param {string} text
 * @returns {Tree[]}
 */
export function inline(text) {
  /** @type {Tree[]} */
  const trees = [];
  const hopeless = new Set(); // marks that nothing closes from here on
  const marks = new RegExp(MARK);
  let plainFrom = 0;
  for (let found; (found = marks.exec(text)); ) {
    const [mark] = found;
    const inside = found.index + mark.length;
    if (hopeless.has(mark) || !opens(text, found.index, mark)) continue;
    const end = closingOf(text, inside, mark);
    if (end < 0) {
      hopeless.add(mark);
      continue;
    }
    trees.push(text.slice(plainFrom, found.index), marked(mark, text.slice(inside, end)));
    plainFrom = marks.lastIndex = end + mark.length;
  }
  trees.push(text.slice(plainFrom));
  return trees.filter((tree) => tree !== "");
}

/**
 * @param {string} mark
 * @param {string} text
 * @returns {Branch}
 */
function marked(mark, text) {
  const tag = TAGS[mark];
  return tag ? { tag, children: inline(text) } : { tag: "code", children: [text] };
}

/**
 * @param {string} text
 * @param {number} at
 * @param {string} mark
 */
function opens(text, at, mark) {
  if (mark[0] === "`") return true;
  const after = text[at + mark.length] ?? " ";
  return after.trim() !== "" && !WORD.test(text[at - 1] ?? " ");
}

/**
 * @param {string} text
 * @param {number} from
 * @param {string} mark
 */
function closingOf(text, from, mark) {
  const marks = new RegExp(MARK);
  marks.lastIndex = from;
  for (let found; (found = marks.exec(text)); ) {
    if (found[0] === mark && isClosing(text, found.index, mark)) return found.index;
  }
  return -1;
}

/**
 * @param {string} text
 * @param {number} at
 * @param {string} mark
 */
function isClosing(text, at, mark) {
  if (mark[0] === "`") return true;
  return text[at - 1].trim() !== "" && !WORD.test(text[at + mark.length] ?? " ");
}
