/** A request as a curl command. */

/**
 * @param {string | URL} url
 * @param {unknown} body
 * @param {Record<string, string>} [headers]
 */
export function curlCommand(url, body, headers = {}) {
  const allHeaders = { "Content-Type": "application/json", ...headers };
  return [
    `curl --no-buffer ${quoted(String(url))}`,
    ...Object.entries(allHeaders).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

/** @param {string} text quoted as one word of a POSIX shell */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
