/** A request as a command for a terminal. */

/**
 * @param {string | URL} url
 * @param {unknown} body
 * @param {Record<string, string>} [headers]
 */
export function curlCommand(url, body, headers = {}) {
  const said = { "Content-Type": "application/json", ...headers };
  return [
    `curl --no-buffer ${quoted(String(url))}`,
    ...Object.entries(said).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

/** @param {string} text as one word of a POSIX shell, whatever is in it */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
