// Single-key shortcuts. They rest while somebody types, holds a modifier or has a dialog open, and can be switched off.
(() => {
  "use strict";
  const sheet = document.querySelector("#keys");
  if (!sheet) return;
  const STORE = "mw-keys";
  const PATIENCE = 1200;
  let leader = 0;

  // ---- on or off, on this device
  const isOn = () => {
    try {
      return localStorage.getItem(STORE) !== "off";
    } catch {
      return true;
    }
  };
  const boxes = document.querySelectorAll("[data-keys-on]");
  for (const box of boxes) {
    box.checked = isOn();
    box.addEventListener("change", () => {
      try {
        localStorage.setItem(STORE, box.checked ? "on" : "off");
      } catch {
        // the choice lasts for nothing: said by the boxes, which stay as they are
        box.checked = isOn();
      }
      for (const other of boxes) other.checked = box.checked;
    });
  }

  function open() {
    if (!sheet.open && !document.querySelector("dialog[open]")) sheet.showModal();
  }
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-keys]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const menu of document.querySelectorAll("details[data-pop][open]")) menu.open = false;
    open();
  });

  // ---- the period of the page: a form's choice, or the menu whose links name different periods
  function stepPeriod(step) {
    const choice = document.querySelector("main select[name=period]");
    if (choice) {
      const to = choice.selectedIndex + step;
      if (to < 0 || to >= choice.options.length) return;
      choice.selectedIndex = to;
      choice.form.requestSubmit();
      return;
    }
    for (const menu of document.querySelectorAll("main .mw-menu")) {
      const links = [...menu.querySelectorAll("a")];
      const periods = new Set(links.map((link) => new URL(link.href).searchParams.get("period")));
      if (links.length < 3 || periods.size !== links.length) continue;
      const at = links.findIndex((link) => link.hasAttribute("aria-current"));
      links[at + step]?.click();
      return;
    }
  }

  function search() {
    const field = document.querySelector("main [data-page-search], main input[type=search]");
    if (field) field.focus();
    else document.dispatchEvent(new Event("mw:palette"));
  }

  const acts = {
    "?": open,
    "/": search,
    "[": () => stepPeriod(-1),
    "]": () => stepPeriod(1),
    n: () => document.dispatchEvent(new Event("mw:drawer")),
    t: () => document.querySelector(".mw-top [data-theme-toggle]")?.click(),
  };

  const typing = (node) => node instanceof Element && node.closest("input, textarea, select, [contenteditable]") !== null;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]") || !isOn()) return;
    // Layouts that need Shift for "?" and "/" hold it; letters do not.
    const key = event.key;
    if (event.shiftKey && /^[a-z]$/i.test(key)) return;
    const follows = Date.now() - leader < PATIENCE;
    leader = 0;
    if (follows && /^[a-z]$/.test(key)) {
      const place = document.querySelector(`#nav [data-shortcut="${key}"]`);
      if (place) {
        event.preventDefault();
        location.assign(place.href);
      }
      return;
    }
    if (key === "g") leader = Date.now();
    else if (Object.hasOwn(acts, key)) {
      event.preventDefault();
      acts[key]();
    }
  });
})();
