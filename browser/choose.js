// Which frame of a tab has the field that the person means.

const FILES = ["dom", "field", "badge", "fill", "session"].map((name) => `page/${name}.js`);
const CLICK = "click into a field first";

/** Return `{frameId}`, `{site}` that needs the browser's permission, or `{problem}` in words. */
export async function chooseFrame(tabId, wanted, options) {
  const frames = await look(tabId, options);
  const top = frames.find((frame) => frame.frameId === 0);
  if (wanted) {
    const frame = frames.find((each) => each.frameId === wanted.id);
    return frame ? usable(frame) : needs(wanted.url);
  }
  if (!top) return { problem: "extensions may not fill the fields of this page" };
  if (top.active === "frame") return insideFrame(frames, top);
  if (top.active !== "none") return usable(top);
  const alone = frames.filter((frame) => frame.passwords > 0);
  if (!options.findField || alone.length !== 1 || alone[0].passwords !== 1) return { problem: CLICK };
  return { frameId: alone[0].frameId };
}

/** Put our scripts into each frame that the browser lets us into; return what each sees of itself. */
async function look(tabId, options) {
  await chrome.scripting.executeScript({ target: { tabId, allFrames: true }, files: FILES });
  const func = (given) => globalThis.novakey?.session.look(given);
  const seen = await chrome.scripting.executeScript({
    target: { tabId, allFrames: true }, func, args: [options],
  });
  return seen.filter((each) => each.result).map((each) => ({ frameId: each.frameId, ...each.result }));
}

function insideFrame(frames, top) {
  let inside = frames.filter((frame) => frame.frameId !== 0 && !["none", "frame"].includes(frame.active));
  // A frame that lost the focus may still remember a field.
  if (inside.some((frame) => frame.focused)) inside = inside.filter((frame) => frame.focused);
  if (inside.length === 1) return usable(inside[0]);
  if (inside.length > 1) return { problem: CLICK };
  const deeper = frames.find((frame) => frame.frameId !== 0 && frame.active === "frame" && frame.source);
  return needs((deeper ?? top).source);
}

function usable(frame) {
  return frame.active === "field" ? { frameId: frame.frameId } : { problem: frame.problem || CLICK };
}

/** A frame that our scripts could not enter. Its address only decides which site is asked for. */
function needs(url) {
  const origin = URL.canParse(url ?? "") ? new URL(url).origin : "null";
  return /^https?:/.test(origin) ? { site: origin } : { problem: CLICK };
}
