/** The icons, as drawings of 24 by 24 units. */

const SVG = "http://www.w3.org/2000/svg";
const FRAME = "M6.5 4.5h11a3 3 0 0 1 3 3v9a3 3 0 0 1-3 3h-11a3 3 0 0 1-3-3v-9a3 3 0 0 1 3-3Z";

/** @type {Record<string, string>} */
const PATHS = {
  sidebar: `${FRAME}M9.5 4.5v15`,
  inspector: `${FRAME}M14.5 4.5v15`,
  close: "m6.5 6.5 11 11m0-11-11 11",
  chat: "M5.5 5h13A2.5 2.5 0 0 1 21 7.5v7a2.5 2.5 0 0 1-2.5 2.5H12l-4.5 3.5V17h-2A2.5 2.5 0 0 1 3 14.5v-7A2.5 2.5 0 0 1 5.5 5ZM8 9.5h8M8 12.75h5",
  new: "M12 5.5v13M5.5 12h13",
  search: "M17 10.75a6.25 6.25 0 1 1-12.5 0 6.25 6.25 0 0 1 12.5 0ZM15.5 15.5 20 20",
  delete: "M4.5 7h15M10 7V4.5h4V7m-7.5 0 .75 12.5h9.5L17.5 7M10.25 11v5m3.5-5v5",
  settings: "M4 7.5h9m5 0h2M4 16.5h2m5 0h9M18 7.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0ZM11 16.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0Z",
  system: "M5.5 5h13a2 2 0 0 1 2 2v7.5a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2ZM9 20h6m-3-3.5V20",
  light: "M15.75 12a3.75 3.75 0 1 1-7.5 0 3.75 3.75 0 0 1 7.5 0ZM12 3v2m0 14v2m9-9h-2M5 12H3m15.36-6.36-1.41 1.41M7.05 16.95l-1.41 1.41m12.72 0-1.41-1.41M7.05 7.05 5.64 5.64",
  dark: "M19.5 14.25A8 8 0 0 1 9.75 4.5a8 8 0 1 0 9.75 9.75Z",
  send: "M12 19V5.5m-5.5 6L12 5.5l5.5 6",
  stop: "M9 7h6a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H9a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2Z",
  pause: "M9 6.5v11m6-11v11",
  resume: "M8.5 6.25v11.5l9-5.75Z",
  copy: "M11 8.5h6a2.5 2.5 0 0 1 2.5 2.5v6a2.5 2.5 0 0 1-2.5 2.5h-6A2.5 2.5 0 0 1 8.5 17v-6A2.5 2.5 0 0 1 11 8.5ZM15.5 5.5a2 2 0 0 0-1.75-1H7A2.5 2.5 0 0 0 4.5 7v6.75a2 2 0 0 0 1 1.75",
  done: "m5.5 12.5 4.25 4.25L18.5 8",
  again: "M19 12a7 7 0 1 1-2.2-5.1L19 9m0-4.5V9h-4.5",
  curl: `${FRAME}M7.5 9.5l2.75 2.5-2.75 2.5m5.25 0h3.75`,
  download: "M12 4.5v10.5m-4.5-4.25L12 15l4.5-4.25M5 19.5h14",
  edit: "M5 19v-3.5L15.5 5 19 8.5 8.5 19Z",
  up: "m6.5 14.5 5.5-5.5 5.5 5.5",
  down: "m6.5 9.5 5.5 5.5 5.5-5.5",
  chevron: "m9.5 6.5 5.5 5.5-5.5 5.5",
};
const FILLED = new Set(["stop", "resume"]);

/** @param {string} name */
export function icon(name) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", FILLED.has(name) ? "icon solid" : "icon");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.append(path);
  return drawing;
}
