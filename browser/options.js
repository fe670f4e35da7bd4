// The owner's options: all that the extension stores. The sites are the browser's own list.

const DEFAULTS = { findField: true, onlyPasswords: false };

const options = await chrome.storage.local.get(DEFAULTS);
for (const name of Object.keys(DEFAULTS)) {
  const box = document.getElementById(name);
  box.checked = options[name];
  box.addEventListener("change", () => chrome.storage.local.set({ [name]: box.checked }));
}

async function showSites() {
  const { origins } = await chrome.permissions.getAll();
  const rows = origins.map((pattern) => {
    const row = document.createElement("li");
    const remove = document.createElement("button");
    remove.textContent = "Remove";
    remove.addEventListener("click", () => chrome.permissions.remove({ origins: [pattern] }).then(showSites));
    row.append(`${pattern.replace(/\/\*$/, "")} `, remove);
    return row;
  });
  document.getElementById("sites").replaceChildren(...rows);
  document.getElementById("none").hidden = rows.length > 0;
}

await showSites();
