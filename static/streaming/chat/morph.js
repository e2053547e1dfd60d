/**
 * Updates existing nodes to match newly drawn ones by changing only the differences, so that
 * selections, focus and scroll positions are preserved.
 */

/**
 * @param {() => Node} parent returns the parent for a new node
 * @param {Node[]} old adjacent nodes
 * @param {Node[]} wanted
 * @returns {Node[]} the resulting nodes
 */
export function morph(parent, old, wanted) {
  for (const extra of old.slice(wanted.length)) extra.parentNode?.removeChild(extra);
  return wanted.map((node, at) => {
    if (at >= old.length) return parent().appendChild(node);
    return morphOne(old[at], node);
  });
}

/**
 * @param {Node} old
 * @param {Node} wanted
 */
function morphOne(old, wanted) {
  if (old instanceof HTMLButtonElement || old.isEqualNode(wanted)) return old;
  if (old instanceof Text && wanted instanceof Text) {
    if (wanted.data.startsWith(old.data)) old.appendData(wanted.data.slice(old.length));
    else old.data = wanted.data;
    return old;
  }
  if (isSame(old, wanted)) {
    morph(() => old, [...old.childNodes], [...wanted.childNodes]);
    return old;
  }
  old.parentNode?.replaceChild(wanted, old);
  return wanted;
}

/**
 * @param {Node} one
 * @param {Node} other
 */
function isSame(one, other) {
  return one.cloneNode().isEqualNode(other.cloneNode());
}
