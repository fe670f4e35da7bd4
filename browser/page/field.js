// Which elements may be filled, and whether one is still what it was when the person pressed the shortcut.

"use strict";

novakey.field ??= (() => {
  const TYPES = ["text", "password", "email", "tel", "url", "search"];
  const SMALLEST_PX = 6;
  const FAINTEST = 0.1;

  const isField = (element) =>
    element instanceof HTMLTextAreaElement
    || (element instanceof HTMLInputElement && TYPES.includes(element.type));

  /** Why this element may not be filled; "" if it may. */
  function problem(element, options) {
    if (!isField(element)) return "this is no text field";
    if (options.onlyPasswords && element.type !== "password") return "only password fields are filled";
    if (element.matches(":disabled") || element.closest("[inert]")) return "the field is disabled";
    if (element.readOnly) return "the field is read-only";
    return visible(element) ? "" : "the field is hidden";
  }

  function visible(element) {
    const shown = { visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true };
    if (!element.checkVisibility(shown)) return false;
    const { width, height, right, bottom } = element.getBoundingClientRect();
    if (width < SMALLEST_PX || height < SMALLEST_PX) return false;
    if (right + scrollX <= 0 || bottom + scrollY <= 0) return false; // moved out of the page
    let opacity = 1;
    for (let each = element; each instanceof Element; each = each.parentNode?.host ?? each.parentElement) {
      opacity *= Number(getComputedStyle(each).opacity);
    }
    return opacity >= FAINTEST;
  }

  /** The other sites that this field's form would be sent to, also by a button of its own. */
  function targets(element) {
    if (!element.form) return [];
    const urls = [novakey.dom.action(element.form)];
    for (const control of novakey.dom.controls(element.form)) {
      if (control.hasAttribute("formaction") && "formAction" in control) urls.push(control.formAction);
    }
    const origins = urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).origin);
    return [...new Set(origins)].filter((origin) => origin !== location.origin);
  }

  const place = () => location.origin + location.pathname + location.search;

  /** What must stay as it is until the end. */
  const picture = (element) => ({ element, place: place(), targets: targets(element) });

  /** How the field is no longer what it was, as an outcome; "" if it is the same. */
  function changed({ element, place: before, targets: known }) {
    if (place() !== before) return "navigated";
    if (!element.isConnected || element.ownerDocument !== document) return "gone";
    return targets(element).every((origin) => known.includes(origin)) ? "" : "site_changed";
  }

  return { isField, problem, picture, changed, targets };
})();
