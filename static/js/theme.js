// Runs before the first paint: ?theme= wins, then the stored choice, then the system.
(() => {
  const asked = new URLSearchParams(location.search).get("theme");
  let stored = null;
  try {
    stored = localStorage.getItem("mw-theme");
  } catch {
    // no storage: the system decides
  }
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const known = (value) => (value === "dark" || value === "light" ? value : null);
  document.documentElement.dataset.theme = known(asked) ?? known(stored) ?? system;
})();
