// Asks the browser's permission for the site of one frame. Browsers ask only after a click on a page of ours.

const origin = new URL(new URLSearchParams(location.search).get("origin")).origin;
// A pattern has no port.
const { protocol, hostname } = new URL(origin);

document.getElementById("site").textContent = origin;
document.getElementById("leave").addEventListener("click", () => close());
document.getElementById("allow").addEventListener("click", async () => {
  await chrome.permissions.request({ origins: [`${protocol}//${hostname}/*`] });
  close();
});
