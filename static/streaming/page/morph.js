/**
 * Making drawn nodes say what newly drawn ones say, touching no more than what differs:
 * selections, the focus and where a reader has scrolled to survive.
 */

/**
 * @param {() => Node} parent where the next one has its place
 * @param {Node[]} old some nodes, side by side
 * @param {Node[]} wanted
 * @returns {Node[]} the nodes that say what is wanted
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
