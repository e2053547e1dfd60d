/** The page's icons, defined in `templates/streaming/icons.html`. */

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name */
export function icon(name) {
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  drawing.append(use);
  return drawing;
}
