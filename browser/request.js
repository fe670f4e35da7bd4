// One request: the host's pipe on one side, the script beside the field on the other.

const HOST = "org.novakey.browser";
const NO_HOST = "NovaKey is not set up for this browser; run: novakey.py browser install";
const GONE = "NovaKey's program ended";
const LAST_WORD_MS = 2000;
const ORIGIN = /^https?:\/\/[^/]+$/;

/** What the toolbar shows of a tab. A page can imitate the badge, but not this. */
export const SEEN = {
  waiting(tabId, origin) {
    chrome.action.setBadgeText({ tabId, text: "…" }).catch(() => {});
    chrome.action.setTitle({ tabId, title: `waiting for the phone: ${origin}` }).catch(() => {});
  },
  clear(tabId) {
    chrome.action.setBadgeText({ tabId, text: "" }).catch(() => {});
    chrome.action.setTitle({ tabId, title: "" }).catch(() => {});
  },
};

/** The other side may have closed the port a moment ago; its `onDisconnect` tells what that means. */
function say(port, message) {
  try {
    port?.postMessage(message);
  } catch (error) {
    console.debug(String(error));
  }
}

export class Request {
  #tabId;
  #frameId = null;
  #done; // forget this request
  #page = null;
  #host = null;
  #id = crypto.randomUUID();
  #filling = false; // the secret went to the page, which has not said what became of it
  #over = false;

  constructor(tabId, done) {
    this.#tabId = tabId;
    this.#done = done;
  }

  /** Let the chosen frame connect. The host's name of the site comes from that connection. */
  async begin(frameId, options) {
    this.#frameId = frameId;
    const func = (given) => globalThis.novakey.session.begin(given);
    const target = { tabId: this.#tabId, frameIds: [frameId] };
    const [{ result }] = await chrome.scripting.executeScript({ target, func, args: [options] });
    if (!result) this.end();
  }

  accepts(port) {
    const { id, frameId } = port.sender;
    const ours = id === chrome.runtime.id && port.name === "field";
    return ours && frameId === this.#frameId && this.#page === null && !this.#over;
  }

  /** Ask the host for the site that the browser names as the one of the script beside the field. */
  run(port) {
    this.#page = port;
    const origin = port.sender.origin ?? new URL(port.sender.url).origin;
    port.onMessage.addListener((message) => this.#fromPage(message));
    port.onDisconnect.addListener(() => this.#pageLeft());
    if (!ORIGIN.test(origin)) return this.#show("this page has no site that could be named");
    say(port, { type: "site", origin });
    SEEN.waiting(this.#tabId, origin);
    this.#host = chrome.runtime.connectNative(HOST);
    this.#host.onMessage.addListener((message) => this.#fromHost(message));
    this.#host.onDisconnect.addListener((closed) => {
      const why = chrome.runtime.lastError ?? closed.error;
      this.#host = null;
      this.#show(/not found|No such native|forbidden/i.test(why?.message ?? "") ? NO_HOST : GONE);
    });
    return say(this.#host, { type: "request", id: this.#id, origin });
  }

  /** The person takes it back, in any state of it. */
  cancel() {
    if (this.#filling) return say(this.#page, { type: "cancel" }); // it answers with an outcome
    this.#tell({ type: "cancel", id: this.#id });
    return this.#show("cancelled");
  }

  #fromHost(message) {
    if (this.#over || message?.id !== this.#id) return;
    if (message.type === "waiting") say(this.#page, { type: "waiting" });
    if (message.type === "fill" && typeof message.secret === "string" && !this.#filling) {
      this.#filling = true;
      say(this.#page, { type: "fill", secret: message.secret });
    }
    if (message.type === "ended") this.#show(String(message.message || message.reason).slice(0, 300));
  }

  #fromPage(message) {
    if (message?.type === "cancel") this.cancel();
    if (message?.type === "outcome") {
      this.#filling = false;
      this.#tell({ type: "outcome", id: this.#id, outcome: message.outcome });
      this.end();
    }
  }

  /** The document of the field is no more; whether its tab is, tells the rest. */
  async #pageLeft() {
    this.#page = null;
    if (this.#over) return;
    const tab = await chrome.tabs.get(this.#tabId).catch(() => null);
    this.#tell({ type: "outcome", id: this.#id, outcome: tab ? "navigated" : "gone" });
    this.end();
  }

  #tell(message) {
    if (!this.#over) say(this.#host, message);
  }

  /** Say in the badge how it ended, and end. */
  #show(text) {
    say(this.#page, { type: "ended", text });
    this.end();
  }

  end() {
    if (this.#over) return;
    this.#over = true;
    SEEN.clear(this.#tabId);
    this.#done();
    this.#page?.disconnect(); // it has what was said before
    // The last word must be read before the pipe closes.
    const host = this.#host;
    if (host) setTimeout(() => host.disconnect(), LAST_WORD_MS);
    host?.onMessage.addListener((message) => message?.type === "ended" && host.disconnect());
  }
}
