// The live tail of events: a socket that is opened when somebody wants to follow. See docs/live-events.md.
(() => {
  "use strict";
  const button = document.querySelector("[data-follow]");
  if (!button) return;
  const panel = document.querySelector("[data-follow-panel]");
  const rows = document.querySelector("[data-follow-rows]");
  const state = document.querySelector("[data-follow-state]");
  const note = document.querySelector("[data-follow-note]");
  const MOST = 200;
  let socket = null;
  let cursor = null;
  let wait = 1000;
  let timer = null;
  let shown = 0;
  let missed = 0;

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };
  const count = (value) => value.toLocaleString("en-US");
  function took(ms) {
    if (ms === null) return "–";
    return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toPrecision(3)} s`;
  }
  function cell(row, text, className) {
    const node = document.createElement("td");
    if (className) node.className = className;
    node.textContent = text;
    row.append(node);
    return node;
  }
  function add(event) {
    const row = document.createElement("tr");
    const link = document.createElement("a");
    link.className = "mw-name";
    link.href = button.dataset.eventUrl + event.event_id;
    link.textContent = new Date(event.timestamp).toLocaleTimeString("en-GB");
    cell(row, "", "mw-nowrap").append(link);
    const what = cell(row, event.model || event.mcp_tool || event.event_type);
    if (event.status === "error") {
      const pill = document.createElement("span");
      pill.className = "mw-pill mw-danger";
      pill.textContent = event.error_type || "failed";
      what.append(" ", pill);
    }
    cell(row, event.session_id || "–", "mw-hide-s mw-mono mw-xs mw-any");
    cell(row, count(event.input_tokens), "mw-n mw-hide-s");
    cell(row, count(event.output_tokens), "mw-n mw-hide-s");
    cell(row, took(event.latency_ms), "mw-n mw-hide-s");
    cell(row, event.cost_usd === null ? "no price" : `$${event.cost_usd}`, "mw-n");
    rows.prepend(row);
  }
  function tell() {
    note.textContent =
      `${count(shown)} shown since you follow; the last ${MOST} stay here.` +
      (missed ? ` ${count(missed)} more came too fast to be shown: search them below.` : "");
  }
  function show(message) {
    if (message.cursor) cursor = message.cursor;
    if (message.type === "ready") {
      wait = 1000;
      say("Following");
    } else if (message.type === "events") {
      // What has the focus stays: rows are only added above and taken away below.
      for (const event of message.data.slice(-MOST)) add(event);
      while (rows.children.length > MOST) rows.lastElementChild.remove();
      shown += message.data.length;
      missed += message.dropped || 0;
      tell();
    } else if (message.type === "gap") {
      say("Some events were missed; search them below");
    } else if (message.type === "error") {
      say(message.problem.detail || message.problem.title);
    }
  }
  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    socket = new WebSocket(`${scheme}://${location.host}${button.dataset.follow}${more}`);
    socket.addEventListener("message", (event) => show(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      if (!socket) return;
      // 4400 and 4403, say: asking again would not help.
      if (event.code >= 4400 && event.code < 4500) {
        if (event.code === 4401 || event.code === 4403) say("You are signed out, or may not see this any more");
        stop(false);
        return;
      }
      say("The connection is gone; trying again");
      timer = setTimeout(connect, wait);
      wait = Math.min(wait * 2, 30000);
    });
  }
  function set(on) {
    button.setAttribute("aria-pressed", String(on));
    button.querySelector("span").textContent = on ? "Stop" : "Follow";
    const use = button.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, on ? "#player-pause" : "#player-play"));
  }
  function stop(said = true) {
    clearTimeout(timer);
    const open = socket;
    socket = null;
    open?.close();
    set(false);
    if (said) say("Stopped");
  }
  button.addEventListener("click", () => {
    if (socket) {
      stop();
      return;
    }
    cursor = null;
    panel.hidden = false;
    say("Connecting");
    set(true);
    connect();
  });
  addEventListener("pagehide", () => socket && stop(false));
})();
