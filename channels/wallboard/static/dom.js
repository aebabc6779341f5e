// @ts-check
/** The few things every view does with the page. Text goes in as text, never as markup. */

/**
 * The element with this id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return /** @type {T} */ (element);
}

/**
 * The first match inside `root`.
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T}
 */
export function find(root, selector) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (element));
}

/**
 * A fresh copy of a template's only element.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function copy(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  const element = template.content.firstElementChild;
  if (!element) throw new Error(`the template #${id} is empty`);
  return /** @type {HTMLElement} */ (element.cloneNode(true));
}

/**
 * Sets the text of an element, only where it differs: an unchanged text costs no layout.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Sets or, with an empty text, removes a `data-` attribute.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string} value
 */
export function setData(element, name, value) {
  if (value === "") delete element.dataset[name];
  else if (element.dataset[name] !== value) element.dataset[name] = value;
}

/**
 * Makes `children` the children of `parent`, in this order, moving only what stands in the wrong place.
 * @param {Element} parent
 * @param {readonly Element[]} children
 */
export function arrange(parent, children) {
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
}

/**
 * The address of a symbol of the icon file.
 * @param {string} key
 * @returns {string}
 */
export function icon(key) {
  return `wallboard/icons.svg#${key}`;
}
