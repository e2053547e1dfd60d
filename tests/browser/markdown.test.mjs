// The page's Markdown: what it reads, what it leaves alone, and that nothing stalls it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, settledLength } from "../../static/streaming/markdown.js";

const html = (tree) =>
  typeof tree === "string"
    ? tree
    : `<${tree.tag}${tree.start > 1 ? ` ${tree.start}` : ""}>${drawn(tree.children)}</>`;
const drawn = (trees) => trees.map(html).join("");

for (const [source, expected] of [
  ["You have **6** apples.", "<p>You have <strong>6</> apples.</>"],
  ["an *odd* one, `a**b`", "<p>an <em>odd</> one, <code>a**b</></>"],
  ["**bold *and `more`***", "<p><strong>bold *and <code>more</></>*</>"],
  ["``a`b``", "<p><code>a`b</></>"],
  ["two\nlines", "<p>two\nlines</>"],
  ["one\n\n\ntwo", "<p>one</><p>two</>"],
  ["## Title\ntext", "<h4>Title</><p>text</>"],
  ["said:\n- a\n* b\n\nend", "<p>said:</><ul><li>a</><li>b</></><p>end</>"],
  ["3. c\n4) d\n- e", "<ol 3><li>c</><li>d</></><ul><li>e</></>"],
  ["1. a\n   more\n   - b\n   - c\n2. d", "<ol><li>a\nmore<ul><li>b</><li>c</></></><li>d</></>"],
  ["```py\nx = 1\n\n- no **b**\n```\nok", "<pre><code>x = 1\n\n- no **b**</></><p>ok</>"],
  ["~~~~\n~~~\n~~~~\nok", "<pre><code>~~~</></><p>ok</>"],
  ["```\nnever closed", "<pre><code>never closed</></>"],
  [
    "1. do\n   ```\n   a\n\n     b\n   ```\n2. go",
    "<ol><li>do<pre><code>a\n\n  b</></></><li>go</></>",
  ],
]) {
  test(`${JSON.stringify(source)} is read as Markdown`, () => {
    assert.equal(drawn(parse(source)), expected);
  });
}

for (const source of [
  "2**3 and 4**5",
  "5*4*3 is 60",
  "a * b * c",
  "**never closed",
  "`never closed",
  "-5 is negative",
  "1.5 apples",
  "#hashtag",
  "snake_case_name",
  "<b>bold</b> &amp; <img src=x onerror=alert(1)>",
  "[a link](javascript:alert(1))",
]) {
  test(`${JSON.stringify(source)} stays as it is`, () => {
    assert.deepEqual(parse(source), [{ tag: "p", children: [source] }]);
  });
}

test("nothing is read out of nothing", () => {
  assert.deepEqual(parse(""), []);
  assert.deepEqual(parse("\n \n"), []);
});

test("a text is settled up to its last blank line outside of code", () => {
  const settled = (source) => source.slice(0, settledLength(source));
  assert.equal(settled("one\n\ntwo"), "one\n\n");
  assert.equal(settled("one\n"), "");
  assert.equal(settled("one\n\n```\ntwo\n\nthree"), "one\n\n");
  assert.equal(settled("```\none\n```\n\ntwo"), "```\none\n```\n\n");
});

for (const source of [
  "*".repeat(100_000),
  " *a".repeat(50_000),
  "**a ".repeat(50_000),
  "*a* ".repeat(30_000),
  Array.from({ length: 400 }, (_, length) => "`".repeat(length)).join("x"),
  "- ".repeat(50_000),
  "- a\n".repeat(30_000),
  "```\n".repeat(20_000),
  Array.from({ length: 1000 }, (_, depth) => `${" ".repeat(depth)}- a`).join("\n"),
]) {
  test(`${source.length} characters as ${JSON.stringify(source.slice(0, 12))} do not stall`, () => {
    const began = performance.now();
    parse(source);
    settledLength(source);
    assert.ok(performance.now() - began < 2000);
  });
}
