// Properties of nodes, read so that the page cannot give us others.
//
// A form control named `activeElement` or `action` hides that property of its document or form ("DOM
// clobbering"), also from us. The getter of the prototype is not hidden. Each file of this folder is run
// again with each request and keeps what the first run made.

"use strict";

if (!Object.hasOwn(globalThis, "novakey")) {
  Object.defineProperty(globalThis, "novakey", { value: {} });
}

novakey.dom ??= (() => {
  const getter = (owner, name) => {
    const { get } = Object.getOwnPropertyDescriptor(owner, name);
    return (node) => get.call(node);
  };
  const active = getter(Document.prototype, "activeElement");

  /** The element with the focus, also inside open shadow roots. */
  function focused() {
    let element = active(document);
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element;
  }

  /** All elements of the document, also of open shadow roots. */
  function* elements(root = document) {
    const select = root === document ? Document.prototype : DocumentFragment.prototype;
    for (const element of select.querySelectorAll.call(root, "*")) {
      yield element;
      if (element.shadowRoot) yield* elements(element.shadowRoot);
    }
  }

  return {
    focused,
    elements,
    root: () => getter(Document.prototype, "documentElement")(document),
    hasFocus: () => Document.prototype.hasFocus.call(document),
    create: (name) => Document.prototype.createElement.call(document, name),
    action: getter(HTMLFormElement.prototype, "action"),
    controls: getter(HTMLFormElement.prototype, "elements"),
    /** An event only counts when the browser made it; a page can make what looks the same. */
    byPerson: (event) => event.isTrusted === true,
  };
})();
