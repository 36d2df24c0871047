// What some parts do beyond HTML: dialogs where the browser does not know commands yet, and pages on their way to paper.
(() => {
  "use strict";
  const root = document.documentElement;

  // ---- <button command="show-modal" commandfor="…">, for browsers before 2025
  if (!("commandForElement" in HTMLButtonElement.prototype)) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[commandfor]");
      const dialog = button && document.getElementById(button.getAttribute("commandfor"));
      if (!dialog) return;
      if (button.getAttribute("command") === "show-modal") dialog.showModal();
      else dialog.close();
    });
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-print]")) print();
  });

  // ---- paper: light charts, tables under charts open where they are short, the moment of printing
  const LONGEST = 60;
  const PAPER = 670; // CSS pixels that a panel leaves a chart on A4 and letter
  const charts = () =>
    [...document.querySelectorAll("[data-drawn]")].map((node) => globalThis.echarts?.getInstanceByDom(node)).filter(Boolean);
  let opened = [];
  let theme = null;
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.mw-fold:not([open])")) {
      const rows = fold.querySelectorAll("tbody tr").length;
      if (!rows || rows >= LONGEST) continue;
      fold.open = true;
      opened.push(fold);
    }
    for (const time of document.querySelectorAll("[data-printed]")) {
      const options = { dateStyle: "medium", timeStyle: "short", timeZone: time.dataset.printed };
      time.textContent = new Intl.DateTimeFormat("en-GB", options).format(new Date());
    }
    if (root.dataset.theme === "dark") {
      theme = root.dataset.theme;
      root.dataset.theme = "light";
      document.dispatchEvent(new Event("mw:theme"));
    }
    for (const chart of charts()) {
      chart.setOption({ animation: false });
      chart.resize({ width: PAPER });
      chart.getZr().flush();
    }
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    opened = [];
    for (const chart of charts()) chart.resize({ width: "auto" });
    if (!theme) return;
    root.dataset.theme = theme;
    theme = null;
    document.dispatchEvent(new Event("mw:theme"));
  });
})();
