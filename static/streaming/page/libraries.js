/** What npm brought for the page. Its template names what is there, so that nothing fails. */

/**
 * @param {string} name
 * @returns {Promise<any>} the module, or undefined where it is not there
 */
export async function library(name) {
  const named = document.querySelector(`meta[name="library-${name}"]`);
  if (!(named instanceof HTMLMetaElement)) return undefined;
  return import(named.content).catch(() => undefined);
}
