// Saving a view opens its form over the page; without scripts the same form is a page of its own.
(() => {
  "use strict";
  const sheet = document.querySelector("#view-save");
  if (!sheet) return;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-view-save]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const menu of document.querySelectorAll("details[data-pop][open]")) menu.open = false;
    sheet.showModal();
    sheet.querySelector("input[name=name]").focus();
  });
})();
