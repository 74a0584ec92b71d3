// @ts-check
/** Make and fill elements; whatever comes in as data becomes text. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element; string children become text.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node|string)[]} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * @param {string} tag
 * @param {Record<string, string|number>} [attributes]
 * @param {Node[]} children
 * @returns {SVGElement}
 */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Write `text` only if it changed: a page that is left alone costs nothing, and a selection in it survives. */
export function write(/** @type {Node} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {string} text @param {string} title @returns {HTMLButtonElement} */
export function button(text, title) {
  return /** @type {HTMLButtonElement} */ (element("button", { type: "button", title }, text));
}

/** Whether what `node` shows is another thing than the last time. @param {HTMLElement} node @param {string} key */
export function changed(node, key) {
  if (node.dataset.shown === key) return false;
  node.dataset.shown = key;
  return true;
}

/** @param {number} moment in milliseconds of the page's clock */
export function secondsSince(moment) {
  return (performance.now() - moment) / 1000;
}
