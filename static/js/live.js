// Figures that move: one socket for the page, polling where it cannot be had. See apps/analytics/consumers.py.
(() => {
  "use strict";
  const { live: path, livePoll: pollUrl } = document.body.dataset;
  if (!path) return;
  const all = (selector) => document.querySelectorAll(selector);
  const NS = "http://www.w3.org/2000/svg";
  let last = null;
  let wait = 1000;
  let timer = null;
  let closing = false;

  const set = (name, text, title) => {
    for (const node of all(`[data-live-${name}]`)) {
      if (node.textContent === text) continue;
      node.textContent = text;
      if (title) node.title = title;
    }
  };

  function drawTicks(svg, values) {
    const top = Math.max(...values) || 1;
    const step = 96 / values.length;
    svg.replaceChildren(
      ...values.map((value, index) => {
        const height = value ? Math.max(1, (value / top) * 28) : 1;
        const bar = document.createElementNS(NS, "rect");
        const fade = index === values.length - 1 ? 1 : 0.35 + (0.5 * index) / values.length;
        const attributes = { x: index * step, y: 28 - height, width: step - 2, height, rx: 1, opacity: fade };
        for (const [name, number] of Object.entries(attributes)) bar.setAttribute(name, number.toFixed(2));
        return bar;
      }),
    );
  }

  // The server writes the figures by the same rules as the page, so nothing is formatted here.
  function show(message) {
    set("rate", message.rate.text);
    set("spend", message.spend.text, message.spend.exact);
    set("events", message.events.text, message.events.exact);
    set("asof", message.as_of.text);
    for (const svg of all("[data-live-ticks]")) drawTicks(svg, message.ticks);
    for (const node of all("[data-live-state]")) node.hidden = false;
    if (last !== null && last !== message.events.exact) document.body.dispatchEvent(new Event("mw:live"));
    last = message.events.exact;
  }

  const dot = (on) => {
    for (const node of all("[data-live-dot]")) node.classList.toggle("mw-on", on);
  };

  async function poll() {
    try {
      const answer = await fetch(pollUrl, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.ok) show(await answer.json());
    } catch {
      // tried again with the next attempt
    }
  }

  function connect() {
    const again = wait > 1000;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    // What was told while there was no socket.
    if (again) socket.addEventListener("open", () => document.dispatchEvent(new Event("mw:notifications")));
    socket.addEventListener("message", (event) => {
      wait = 1000;
      dot(true);
      const message = JSON.parse(event.data);
      if (message.kind === "notifications") document.dispatchEvent(new Event("mw:notifications"));
      else show(message);
    });
    socket.addEventListener("close", (event) => {
      dot(false);
      // 4401 and 4403: signed out, or no member any more; asking again would not help.
      if (closing || event.code === 4401 || event.code === 4403) return;
      poll();
      timer = setTimeout(connect, wait);
      wait = Math.min(wait * 2, 30000);
    });
    addEventListener("pagehide", () => {
      closing = true;
      clearTimeout(timer);
      socket.close();
    }, { once: true });
  }
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      closing = false;
      connect();
    }
  });
  connect();
})();
