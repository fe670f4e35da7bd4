// The extension's events. All that a person can press comes here; a page can start nothing.
//
//   background.js  the events of the browser
//   choose.js      which frame of the tab has the field
//   request.js     one request: from the host to the field and back
//   options.*      the owner's options; the sites whose frames may be filled
//   site.*         asks the browser's permission for the site of a frame
//   page/          what runs beside the page, in a world that the page's scripts cannot reach

import { chooseFrame } from "./choose.js";
import { Request, SEEN } from "./request.js";

const requests = new Map(); // by the tab's id
const MENU = "fill";

// `_execute_action` is the shortcut. It comes here as the button does.
chrome.action.onClicked.addListener((tab) => toggle(tab, null));

chrome.contextMenus.onClicked.addListener((info, tab) => {
  if (info.menuItemId === MENU && tab) toggle(tab, { id: info.frameId ?? 0, url: info.frameUrl });
});

chrome.runtime.onInstalled.addListener(() => {
  // Firefox counts password fields apart from what is editable; Chromium does not know that word.
  const contexts = ["editable"];
  if (chrome.contextMenus.ContextType?.PASSWORD) contexts.push("password");
  chrome.contextMenus.removeAll(() => {
    chrome.contextMenus.create({ id: MENU, title: "Fill from the phone", contexts });
  });
});

chrome.runtime.onConnect.addListener((port) => {
  const request = requests.get(port.sender?.tab?.id);
  // Only the frame that was chosen, once, and while a person waits for it.
  if (!request?.accepts(port)) return port.disconnect();
  return request.run(port);
});

/** Ask for a secret for this tab, or take back what it waits for. No page can hinder the second. */
async function toggle(tab, frame) {
  const before = requests.get(tab.id);
  if (before) return before.cancel();
  const request = new Request(tab.id, () => requests.delete(tab.id));
  requests.set(tab.id, request);
  try {
    const options = await chrome.storage.local.get({ findField: true, onlyPasswords: false });
    const chosen = await chooseFrame(tab.id, frame, options);
    if (chosen.frameId !== undefined) return await request.begin(chosen.frameId, options);
    request.end();
    if (chosen.site) return await askForSite(chosen.site);
    return await notice(tab.id, chosen.problem);
  } catch (error) {
    request.end();
    // A page of the browser itself, its store, or a tab that was closed.
    console.debug(String(error));
    return await notice(tab.id, "extensions may not fill the fields of this page");
  }
}

async function notice(tabId, text) {
  await chrome.action.setTitle({ tabId, title: text }).catch(() => {});
  await chrome.action.setBadgeText({ tabId, text: "!" }).catch(() => {});
  setTimeout(() => SEEN.clear(tabId), 5000);
  const func = (words) => globalThis.novakey?.badge.notice(words);
  await chrome.scripting.executeScript({ target: { tabId }, func, args: [text] }).catch(() => {});
}

/** The browser asks only after a click on a page of ours, so there is a small one. */
async function askForSite(origin) {
  const url = chrome.runtime.getURL(`site.html?origin=${encodeURIComponent(origin)}`);
  await chrome.windows.create({ url, type: "popup", width: 480, height: 260 });
}
