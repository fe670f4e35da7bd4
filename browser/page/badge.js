// The badge at the field. It stands in a closed shadow root, which the page's scripts cannot look into.
//
// A page can draw something alike, cover or remove it. No secret depends on it: the toolbar's mark and the
// owner's question are the ones to believe.

"use strict";

novakey.badge ??= (() => {
  const STAYS_MS = 4000;
  const WORDS = {
    filled: "filled",
    altered: "the page changed the text, so the field was emptied",
    navigated: "the page changed to another, so nothing was filled",
    gone: "the field is gone, so nothing was filled",
    unsuitable: "the field cannot be filled any more",
    site_changed: "the form now goes to another site, so nothing was filled",
    cancelled: "cancelled",
    failed: "the field could not be filled",
  };
  const HOST = {
    all: "initial", position: "fixed", inset: "auto", margin: "0", padding: "0", border: "0",
    background: "transparent", overflow: "visible", "z-index": "2147483647",
  };
  const BOX = {
    font: "13px/1.35 system-ui, sans-serif", color: "#fff", background: "#1f2937", border: "1px solid #60a5fa",
    "border-radius": "6px", padding: "5px 9px", display: "flex", gap: "9px", "align-items": "center",
    "max-width": "440px", "box-shadow": "0 2px 8px rgba(0,0,0,.35)", "white-space": "normal",
  };
  const CROSS = {
    all: "unset", cursor: "pointer", padding: "0 3px", "font-size": "16px", "line-height": "1",
  };
  let latest = null;

  function styled(name, styles, text = "") {
    const element = novakey.dom.create(name);
    // By the object model: a page's Content-Security-Policy may forbid style elements and attributes.
    for (const [key, value] of Object.entries(styles)) element.style.setProperty(key, value, "important");
    element.textContent = text;
    return element;
  }

  function make(onCancel) {
    latest?.end("");
    const host = styled("div", HOST);
    const box = styled("div", BOX);
    const lines = styled("div", {});
    const first = styled("div", {});
    const site = styled("div", { "font-weight": "bold", "overflow-wrap": "anywhere" });
    const last = styled("div", { color: "#bfdbfe" });
    lines.append(first, site, last);
    box.append(lines);
    if (onCancel) {
      const cross = styled("button", CROSS, "×");
      cross.setAttribute("aria-label", "cancel");
      cross.addEventListener("click", (event) => novakey.dom.byPerson(event) && onCancel());
      box.append(cross);
    }
    box.setAttribute("role", "status");
    host.attachShadow({ mode: "closed" }).append(box);
    return { host, first, site, last };
  }

  /** Above all that the page shows, also above its own dialogs. */
  function raise(host) {
    if (!host.isConnected) novakey.dom.root().append(host);
    host.popover = "manual";
    if (!host.matches(":popover-open")) host.showPopover();
  }

  function below(host, element) {
    const field = element.getBoundingClientRect();
    const { width, height } = host.getBoundingClientRect();
    const under = field.bottom + 4 + height <= innerHeight;
    const top = under ? field.bottom + 4 : field.top - 4 - height;
    const within = (value, most) => `${Math.round(Math.max(4, Math.min(value, most)))}px`;
    host.style.setProperty("left", within(field.left, innerWidth - width - 4), "important");
    host.style.setProperty("top", within(top, innerHeight - height - 4), "important");
  }

  function show(picture, onCancel) {
    const { host, first, site, last } = make(onCancel);
    const follow = () => {
      raise(host);
      below(host, picture.element);
    };
    const removed = () => {
      removeEventListener("scroll", follow, true);
      removeEventListener("resize", follow, true);
      host.remove();
    };
    first.textContent = "asking NovaKey";
    last.textContent = ["Esc cancels", ...picture.targets.map((to) => `the form goes to ${to}`)].join(" · ");
    follow();
    addEventListener("scroll", follow, true);
    addEventListener("resize", follow, true);
    latest = {
      follow,
      site: (origin) => {
        site.textContent = origin.replace(/^https:\/\//, "");
        follow();
      },
      waiting: () => {
        first.textContent = "waiting for the phone";
        follow();
      },
      end: (text) => {
        first.textContent = text;
        last.textContent = "";
        if (text) setTimeout(removed, STAYS_MS);
        else removed();
      },
    };
    return latest;
  }

  /** Say something without a field. */
  function notice(text) {
    const { host, first } = make(null);
    first.textContent = text;
    raise(host);
    below(host, novakey.dom.root());
    host.style.setProperty("top", "12px", "important");
    setTimeout(() => host.remove(), STAYS_MS);
  }

  return { show, notice, words: (outcome) => WORDS[outcome] ?? outcome };
})();
