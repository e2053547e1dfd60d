/** Optional npm libraries of the page. The template names the installed ones. */

/**
 * @param {string} name
 * @returns {Promise<any>} the module, or undefined if it is not installed
 */
export async function library(name) {
  const named = document.querySelector(`meta[name="library-${name}"]`);
  if (!(named instanceof HTMLMetaElement)) return undefined;
  return import(named.content).catch(() => undefined);
}
