// Puts the secret into the field as a person's input would be, and sees whether it stays there.

"use strict";

novakey.fill ??= (() => {
  // Frameworks react in a later turn, masks after a short while.
  const LATER_MS = [0, 0, 60];
  const EMPTY_TRIES = 3;

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  /** Set the value by the setter of the prototype. React and others put one of their own on the element. */
  function put(element, text) {
    const owner = element instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(owner.prototype, "value").set.call(element, text);
    const more = { bubbles: true, composed: true };
    element.dispatchEvent(new InputEvent("input", { ...more, inputType: "insertReplacementText" }));
    element.dispatchEvent(new Event("change", more));
  }

  /** Empty the field, and others of this page that took over its text. Their scripts may put it back. */
  async function empty(element, secret) {
    for (let tries = 0; tries < EMPTY_TRIES; tries += 1) {
      put(element, "");
      for (const other of novakey.dom.elements()) {
        if ("value" in other && novakey.field.isField(other) && other.value === secret) put(other, "");
      }
      await pause(0);
      if (element.value === "") return;
    }
  }

  /** Fill the field and return the outcome. `stop()` is an outcome that ends it before its time, or "". */
  async function fill(picture, secret, stop) {
    const { element } = picture;
    const before = stop() || novakey.field.changed(picture);
    if (before) return before;
    if (novakey.field.problem(element, {})) return "unsuitable";
    // A person's input would be cut here. The setter does not do that.
    if (element.maxLength >= 0 && secret.length > element.maxLength) return "altered";
    let outcome = "";
    try {
      put(element, secret);
      outcome = seen(picture, secret, stop);
      for (const ms of LATER_MS) {
        if (!outcome) await pause(ms);
        outcome ||= seen(picture, secret, stop);
      }
    } catch (error) {
      outcome = "failed";
    }
    if (!outcome) return "filled";
    await empty(element, secret);
    return outcome;
  }

  function seen(picture, secret, stop) {
    const outcome = stop() || novakey.field.changed(picture);
    return outcome || (picture.element.value === secret ? "" : "altered");
  }

  return { fill, put };
})();
