// The command palette: pages at once, everything else of the organisation as it is typed. Without scripts its button
// leads to the page of the search, which finds the same.
(() => {
  "use strict";
  const palette = document.querySelector("#cmd");
  if (!palette) return;
  const one = (selector, from = palette) => from.querySelector(selector);
  const all = (selector, from = palette) => [...from.querySelectorAll(selector)];
  const input = one("input");
  const foundBox = one("[data-cmd-found]");
  const recentBox = one("[data-cmd-recent]");
  const storeKey = `mw-recent-${palette.dataset.org}`;
  const WAIT = 150;
  const KEPT = 5;
  let current = 0;
  let number = 0;
  let asking = null;
  let timer = null;

  // ---- what was opened before, on this device and in this organisation
  function recent() {
    try {
      const kept = JSON.parse(localStorage.getItem(storeKey));
      // Only addresses of this site: what stands in the storage is not trusted.
      return Array.isArray(kept) ? kept.filter((item) => /^\/[^/\\]/.test(item?.url) && typeof item.label === "string") : [];
    } catch {
      return [];
    }
  }
  function remember(option) {
    if (!option.href || option.dataset.keys !== undefined) return;
    const url = option.pathname + option.search;
    if (url === "/logout") return;
    const item = { url, label: option.dataset.text, icon: one("use", option)?.getAttribute("href") ?? "" };
    try {
      localStorage.setItem(storeKey, JSON.stringify([item, ...recent().filter((old) => old.url !== url)].slice(0, KEPT)));
    } catch {
      // then nothing is remembered
    }
  }
  function drawRecent() {
    const items = recent();
    recentBox.replaceChildren();
    recentBox.hidden = !items.length;
    if (!items.length) return;
    const heading = document.createElement("h3");
    heading.setAttribute("aria-hidden", "true");
    heading.textContent = "Recent";
    recentBox.append(heading);
    for (const item of items) {
      const option = document.createElement("a");
      option.href = item.url;
      option.tabIndex = -1;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      // The icon of the palette's own option for the page, else a clock.
      const known = all("[role=option] use").find((use) => use.getAttribute("href") === item.icon);
      const icon = (known ?? one("use")).closest("svg").cloneNode(true);
      const label = document.createElement("span");
      label.className = "mw-trunc";
      label.textContent = item.label;
      option.append(icon, label);
      recentBox.append(option);
    }
  }

  // ---- options
  const options = () => all("[role=option]");
  const visible = () => options().filter((option) => !option.hidden && !option.closest("[hidden]"));
  function setUp(option) {
    if (option.id) return;
    option.id = `cmd-${number++}`;
    option.dataset.text = one(".mw-trunc", option).textContent;
  }
  function mark(index, scroll = true) {
    const shown = visible();
    for (const option of options()) option.setAttribute("aria-selected", "false");
    input.removeAttribute("aria-activedescendant");
    if (!shown.length) return;
    current = (index + shown.length) % shown.length;
    shown[current].setAttribute("aria-selected", "true");
    input.setAttribute("aria-activedescendant", shown[current].id);
    if (scroll) shown[current].scrollIntoView({ block: "nearest" });
  }
  function emphasise(option, wanted) {
    const label = one(".mw-trunc", option);
    const text = option.dataset.text;
    const at = wanted ? text.toLowerCase().indexOf(wanted) : -1;
    label.textContent = text;
    if (at < 0) return;
    const hit = document.createElement("mark");
    hit.textContent = text.slice(at, at + wanted.length);
    label.replaceChildren(text.slice(0, at), hit, text.slice(at + wanted.length));
  }
  function filter(before = null) {
    const wanted = input.value.trim().toLowerCase();
    for (const option of options()) {
      setUp(option);
      option.hidden = !("found" in option.dataset) && Boolean(wanted) && !option.dataset.text.toLowerCase().includes(wanted);
      emphasise(option, wanted);
    }
    recentBox.hidden = Boolean(wanted) || !one("[role=option]", recentBox);
    for (const group of all("[role=group]")) {
      if (group !== recentBox) group.hidden = !all("[role=option]", group).some((option) => !option.hidden);
    }
    tell(wanted);
    const at = before ? visible().indexOf(before) : 0;
    mark(at < 0 ? 0 : at);
  }
  function tell(wanted) {
    const found = visible().length;
    const waiting = Boolean(asking || timer);
    one("[data-cmd-n]").textContent = found ? `${found} ${found === 1 ? "result" : "results"}` : waiting ? "Searching" : "Nothing found";
    one("[data-cmd-none]").hidden = Boolean(found || waiting || !wanted);
  }

  // ---- the server's part: asked for when typing rests, and dropped when typing has gone on
  async function ask(text) {
    asking?.abort();
    const mine = (asking = new AbortController());
    let html = "";
    try {
      const answer = await fetch(`${palette.dataset.search}?q=${encodeURIComponent(text)}`, {
        credentials: "same-origin",
        signal: mine.signal,
        headers: { "X-Requested-With": "fetch" },
      });
      if (answer.ok && !answer.redirected) html = await answer.text();
    } catch {
      // the pages are still there
    }
    if (asking !== mine) return;
    asking = null;
    if (input.value.trim() !== text) return;
    const parsed = new DOMParser().parseFromString(html, "text/html");
    // What was chosen while the answer was on its way stays chosen.
    const chosen = visible()[current];
    foundBox.replaceChildren(...parsed.body.childNodes);
    filter(chosen);
  }
  function typed() {
    const text = input.value.trim();
    clearTimeout(timer);
    timer = null;
    asking?.abort();
    asking = null;
    if (text) {
      timer = setTimeout(() => {
        timer = null;
        ask(text);
      }, WAIT);
    } else foundBox.replaceChildren();
    filter();
  }

  function open() {
    if (palette.open || document.querySelector("dialog[open]")) return;
    input.value = "";
    foundBox.replaceChildren();
    drawRecent();
    filter();
    palette.showModal();
    input.focus();
  }

  // ---- events
  input.addEventListener("input", typed);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(current + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      const option = visible()[current];
      if (!option) return;
      if ((event.ctrlKey || event.metaKey) && option.href) {
        remember(option);
        window.open(option.href, "_blank", "noopener");
      } else option.click();
    }
  });
  palette.addEventListener("mousemove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && option.getAttribute("aria-selected") !== "true") mark(visible().indexOf(option), false);
  });
  palette.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    remember(option);
    if (!event.ctrlKey && !event.metaKey) palette.close();
  });
  palette.addEventListener("close", () => {
    clearTimeout(timer);
    timer = null;
    asking?.abort();
    asking = null;
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-cmd]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("mw:palette", open);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
})();
