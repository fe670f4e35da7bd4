// One frame's part of a request: it looks at its own field, shows the badge, fills, and says what happened.

"use strict";

novakey.session ??= (() => {
  const LOOK_MS = 300; // also keeps the extension awake while a person waits

  let chosen = null; // the field that `look` found
  let current = null; // the request that runs

  /** What this frame sees of itself, for the choice of the frame. */
  function look(options) {
    const element = novakey.dom.focused();
    const fields = [...novakey.dom.elements()].filter((each) => each.type === "password");
    const passwords = fields.filter((each) => !novakey.field.problem(each, options));
    const problem = novakey.field.isField(element) ? novakey.field.problem(element, options) : "";
    let active = "none";
    if (novakey.field.isField(element)) active = problem ? "unsuitable" : "field";
    if (element instanceof HTMLIFrameElement) active = "frame";
    chosen = active === "field" ? element : passwords.length === 1 ? passwords[0] : null;
    const source = active === "frame" ? element.src : "";
    return { active, problem, source, focused: novakey.dom.hasFocus(), passwords: passwords.length };
  }

  /** Wait for the phone beside the field that `look` found; false if there is none any more. */
  function begin(options) {
    const element = chosen;
    chosen = null;
    current?.close(""); // a request that has ended, and whose last word is still shown
    if (!element || novakey.field.problem(element, options)) return false;
    const picture = novakey.field.picture(element);
    const badge = novakey.badge.show(picture, () => cancel());
    const port = chrome.runtime.connect({ name: "field" });
    let stopped = "";
    let lastWord = "NovaKey's extension ended";
    let secretHere = false;

    const timer = setInterval(() => {
      badge.follow();
      const outcome = secretHere ? "" : novakey.field.changed(picture);
      if (outcome) finish(outcome);
      else post({ type: "here" });
    }, LOOK_MS);

    const post = (message) => {
      try {
        port.postMessage(message);
      } catch (error) {
        close(lastWord); // the extension was replaced
      }
    };
    const cancel = () => (secretHere ? (stopped = "cancelled") : post({ type: "cancel" }));
    const onKey = (event) => {
      if (event.key !== "Escape" || !novakey.dom.byPerson(event)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      cancel();
    };
    const onHide = (event) => {
      if (!novakey.dom.byPerson(event)) return;
      if (secretHere) novakey.fill.put(element, "");
      close("");
    };
    const close = (text) => {
      if (secretHere) stopped ||= "failed"; // the outcome can be told to no phone, so nothing stays
      if (current?.port !== port) return;
      current = null;
      clearInterval(timer);
      removeEventListener("keydown", onKey, true);
      removeEventListener("pagehide", onHide, true);
      badge.end(text);
      port.disconnect();
    };
    const finish = (outcome) => {
      lastWord = novakey.badge.words(outcome);
      clearInterval(timer);
      post({ type: "outcome", outcome }); // the other side closes the port
    };

    port.onMessage.addListener(async (message) => {
      if (message.type === "site") badge.site(message.origin);
      if (message.type === "waiting") badge.waiting();
      if (message.type === "cancel") cancel();
      if (message.type === "ended") lastWord = message.text;
      if (message.type === "fill" && !secretHere) {
        secretHere = true;
        const outcome = await novakey.fill.fill(picture, message.secret, () => stopped);
        secretHere = false;
        if (current?.port === port) finish(outcome);
      }
    });
    port.onDisconnect.addListener(() => close(lastWord));
    addEventListener("keydown", onKey, true);
    addEventListener("pagehide", onHide, true);
    current = { port, close };
    return true;
  }

  return { look, begin };
})();
