// The bell and its drawer. Without scripts the bell leads to the page of notifications, whose forms do the same.
(() => {
  "use strict";
  const bell = document.querySelector("[data-bell]");
  const drawer = document.querySelector("#drawer");
  if (!bell || !drawer) return;
  const body = drawer.querySelector("[data-drawer-body]");
  const badge = bell.querySelector("[data-bell-n]");
  const said = document.querySelector("[data-bell-said]");
  // When an organisation of thousands is told something, its pages do not all ask in the same instant.
  const SPREAD = 1500;
  let onlyUnread = false;
  let unread = parseInt(badge.textContent, 10) || 0;
  let timer = null;
  let asked = 0;

  function show(count, text) {
    unread = count;
    badge.hidden = !count;
    badge.textContent = text;
    bell.setAttribute("aria-label", `Notifications, ${text} unread`);
  }

  async function load() {
    const mine = ++asked;
    let answer = null;
    try {
      answer = await fetch(`${drawer.dataset.url}${onlyUnread ? "?unread=1" : ""}`, {
        credentials: "same-origin",
        headers: { "X-Requested-With": "fetch" },
      });
    } catch {
      // said below
    }
    if (mine !== asked) return;
    if (!answer?.ok || answer.redirected) {
      trouble();
      return;
    }
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asked) return;
    const wasIn = body.contains(document.activeElement) ? document.activeElement : null;
    const role = wasIn?.matches("[data-drawer-unread]") ? "[data-drawer-unread]" : "[data-drawer-close]";
    body.replaceChildren(...parsed.body.childNodes);
    const state = body.querySelector("[data-drawer-n]");
    show(Number(state.dataset.drawerN), state.dataset.drawerText);
    if (wasIn) body.querySelector(role).focus();
  }
  function trouble() {
    const list = body.querySelector(".mw-sks, .mw-todo");
    const words = document.createElement("p");
    words.className = "mw-todo mw-p-b";
    words.setAttribute("role", "alert");
    words.textContent = "Notifications could not be loaded. Close this and try again.";
    list?.replaceWith(words);
  }

  function open() {
    if (drawer.open || document.querySelector("dialog[open]")) return;
    drawer.showModal();
    load();
  }

  // ---- arriving: the bell changes, and the newest is said once, politely
  async function look() {
    let news = null;
    try {
      const answer = await fetch(bell.dataset.bell, { credentials: "same-origin", headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) return;
      news = await answer.json();
    } catch {
      return; // with the next page
    }
    // What is for others leaves the number as it is.
    if (news.count > unread) said.textContent = `New notification: ${news.newest.title}`;
    show(news.count, news.text);
    if (drawer.open) load();
  }
  document.addEventListener("mw:notifications", () => {
    clearTimeout(timer);
    timer = setTimeout(look, Math.random() * SPREAD);
  });

  // ---- events
  bell.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("mw:drawer", open);
  drawer.addEventListener("change", (event) => {
    if (!event.target.matches("[data-drawer-unread]")) return;
    onlyUnread = event.target.checked;
    load();
  });
  async function send(form) {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      credentials: "same-origin",
      headers: { "X-Requested-With": "fetch" },
    });
    if (!answer.ok) throw new Error(String(answer.status));
  }
  drawer.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send(event.target);
      await load();
    } catch {
      trouble();
    }
  });
  // Following a notification reads it.
  drawer.addEventListener("click", (event) => {
    const form = event.target.closest("[data-note-link]")?.parentElement.querySelector("form");
    if (form) {
      fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        keepalive: true,
        credentials: "same-origin",
        headers: { "X-Requested-With": "fetch" },
      }).catch(() => {});
    }
  });
})();
