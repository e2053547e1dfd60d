/** Style sheets for shadow roots. They need no URL, and no Content-Security-Policy forbids them. */

const PIXELS = 16;

// `rem` belongs to the host page, which may redefine it (62.5% is common).
try {
  const property = { syntax: "<length>", inherits: true, initialValue: `${PIXELS}px` };
  CSS.registerProperty({ name: "--agent-chat-rem", ...property });
} catch {
  // another version of the component has registered it
}

/**
 * Return a style sheet in which `rem` is the component's own unit. In the conditions of
 * at-rules, where properties have no meaning, it is 16 px.
 *
 * @param {string} css
 */
export function sheet(css) {
  const scaled = css.replace(/^ *@.*$|(-?[\d.]+)rem\b/gm, (found, number) =>
    number === undefined
      ? found.replace(/([\d.]+)rem\b/g, (_, rem) => `${rem * PIXELS}px`)
      : `calc(${number} * var(--agent-chat-rem))`,
  );
  const made = new CSSStyleSheet();
  made.replaceSync(scaled);
  return made;
}

/**
 * Add a sheet to a root that may have it.
 *
 * @param {ShadowRoot} root
 * @param {CSSStyleSheet} added
 */
export function adopt({ adoptedStyleSheets: sheets }, added) {
  if (!sheets.includes(added)) sheets.push(added);
}
