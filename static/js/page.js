// What every page does beyond links and forms. Without it all pages can still be read and all forms sent.
(() => {
  "use strict";
  const root = document.documentElement;
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // ---- light and dark
  function toggleTheme() {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("mw-theme", root.dataset.theme);
    } catch {
      // the choice lasts for this page
    }
    document.dispatchEvent(new Event("mw:theme"));
  }

  // ---- navigation on a phone: slides over the page, which rests meanwhile
  const nav = one("#nav");
  const burger = one("[data-nav]");
  let scrim = null;
  function setNav(open) {
    if (!nav || open === Boolean(scrim)) return;
    nav.classList.toggle("mw-open", open);
    burger.setAttribute("aria-expanded", String(open));
    one(".mw-page").inert = open;
    if (open) {
      scrim = document.createElement("div");
      scrim.className = "mw-scrim";
      scrim.addEventListener("click", () => setNav(false));
      document.body.append(scrim);
      one("a, summary", nav).focus();
    } else {
      scrim.remove();
      scrim = null;
      burger.focus();
    }
  }

  // ---- rows of links that scroll sideways on a narrow screen: the present one in sight
  for (const link of all(".mw-set-nav [aria-current], .mw-tabs [aria-current]")) {
    const row = link.parentElement;
    if (row.scrollWidth > row.clientWidth) row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
  }

  // ---- menus (<details data-pop>): one at a time, closed by Escape or a click elsewhere, walked with arrows
  const openMenus = () => all("details[data-pop][open]");
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = document.activeElement?.closest("details[data-pop][open]") ?? openMenus()[0];
    if (!menu) return;
    if (event.key === "Escape") {
      menu.open = false;
      one("summary", menu).focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const items = all(".mw-menu a, .mw-menu button", menu);
      if (!items.length) return;
      event.preventDefault();
      const at = items.indexOf(document.activeElement);
      const step = event.key === "ArrowDown" ? 1 : -1;
      items[(at + step + items.length) % items.length].focus();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") setNav(false);
  });

  // ---- dialogs: closed by their cross and by a click beside them
  document.addEventListener("click", (event) => {
    const close = event.target.closest("[data-sheet-close], [data-drawer-close]");
    if (close) close.closest("dialog").close();
    else if (event.target.matches?.(".mw-sheet, .mw-drawer, .mw-cmd")) event.target.close();
  });

  // ---- toasts: good news leaves after 6 s, waits under pointer or focus; trouble stays until dismissed
  for (const toast of all("[data-toast]")) setUpToast(toast);
  function setUpToast(toast) {
    const dismiss = () => toast.remove();
    one("[data-toast-x]", toast)?.addEventListener("click", dismiss);
    if (one(".mw-tone-danger, .mw-tone-warn", toast)) return;
    let timer = setTimeout(dismiss, 6000);
    const hold = () => clearTimeout(timer);
    const release = () => {
      clearTimeout(timer);
      timer = setTimeout(dismiss, 6000);
    };
    for (const name of ["mouseenter", "focusin"]) toast.addEventListener(name, hold);
    for (const name of ["mouseleave", "focusout"]) toast.addEventListener(name, release);
  }

  // ---- a fragment that did not come: said once, with what to name when reporting it; polling stays quiet
  function tellTrouble(event) {
    const source = event.detail.elt;
    if (source.getAttribute("hx-trigger")?.includes("every")) return;
    const toast = one("#trouble").content.firstElementChild.cloneNode(true);
    one("[data-correlation]", toast).textContent = event.detail.xhr.getResponseHeader("X-Correlation-Id") ?? "none";
    one(".mw-toasts").replaceChildren(toast);
    setUpToast(toast);
  }
  if (one("#trouble")) {
    document.body.addEventListener("htmx:responseError", tellTrouble);
    document.body.addEventListener("htmx:sendError", tellTrouble);
  }

  // ---- tabs: all panels stand open without scripts
  function setUpTabs(group) {
    const tabs = all("[role=tab]", group);
    const show = (chosen) => {
      for (const tab of tabs) {
        const on = tab === chosen;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
        document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
      }
    };
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => show(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = tabs[(index + step + tabs.length) % tabs.length];
        show(next);
        next.focus();
      });
    });
    if (tabs.length) show(tabs[0]);
    group.dataset.ready = "";
  }
  all("[data-tabs]").forEach(setUpTabs);

  // ---- copy
  async function copy(button) {
    const source = one("[data-copy-source]", button.parentElement);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
    } catch {
      getSelection().selectAllChildren(source); // no clipboard here (plain HTTP): ready for Ctrl-C
      return;
    }
    const word = one("[data-copy-word]", button);
    const label = button.getAttribute("aria-label");
    button.classList.add("mw-copied");
    button.setAttribute("aria-label", "Copied");
    if (word) word.textContent = "Copied";
    setTimeout(() => {
      button.classList.remove("mw-copied");
      button.setAttribute("aria-label", label);
      if (word) word.textContent = "Copy";
    }, 1500);
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-theme-toggle], [data-copy], [data-nav]");
    if (!target) return;
    if ("themeToggle" in target.dataset) toggleTheme();
    else if ("copy" in target.dataset) copy(target);
    else setNav(!scrim);
  });

  // ---- a new organisation starts in the zone of whoever makes it
  const zone = one("select[data-guess-zone]");
  if (zone && zone.value === "UTC") {
    const guess = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...zone.options].some((option) => option.value === guess)) zone.value = guess;
  }
})();
