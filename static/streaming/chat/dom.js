/** Helpers that find and create elements. Text only ever becomes text nodes, never HTML. */

/**
 * Return the element with this id in a component or in the document.
 *
 * @template {HTMLElement} [T=HTMLElement]
 * @param {ShadowRoot | Document} root
 * @param {string} id
 * @returns {T}
 */
export function byId(root, id) {
  const found = root.getElementById(id);
  if (!found) throw new Error(`there is no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Create an element with a class and children; strings become text.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [className]
 * @param {...(Node | string)} children
 */
export function element(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/**
 * Create an element with attributes: `true` is an attribute without a value, and `false`
 * none.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean>} attributes
 * @param {...(Node | string)} children
 */
export function part(tag, attributes, ...children) {
  const node = element(tag, "", ...children);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, String(value));
  }
  return node;
}
