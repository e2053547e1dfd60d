/** Optional npm libraries. The element names the installed ones. */

/** @type {Record<string, string>} */
let urls = {};

/** @param {Record<string, string>} given the URL of each library */
export function useLibraries(given) {
  urls = { ...urls, ...given };
}

/**
 * @param {string} name
 * @returns {Promise<any>} the module, or undefined if it is not installed
 */
export async function library(name) {
  if (!urls[name]) return undefined;
  return import(new URL(urls[name], document.baseURI).href).catch(() => undefined);
}
