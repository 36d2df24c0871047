// Files that are chosen or dropped are sent one after the other, each with how far it is. Without scripts the form sends one.
(() => {
  "use strict";
  const form = document.querySelector("[data-upload]");
  if (!form) return;
  const drop = form.querySelector("[data-drop]");
  const input = form.querySelector("input[type=file]");
  const list = form.querySelector("[data-sent]");
  const item = form.querySelector("[data-sent-item]").content.firstElementChild;
  const waiting = [];
  let busy = false;

  input.multiple = true;

  // ---- what is dropped anywhere on the page must not open in its place
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  for (const name of ["dragover", "drop"]) {
    addEventListener(name, (event) => {
      if (holdsFiles(event)) event.preventDefault();
    });
  }
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => drop.classList.toggle("mw-over", holdsFiles(event)));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("mw-over"));
  drop.addEventListener("drop", (event) => add(event.dataTransfer.files));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add(input.files);
    input.value = "";
  });

  function add(files) {
    for (const file of files) {
      const row = item.cloneNode(true);
      row.querySelector("[data-name]").textContent = file.name;
      row.querySelector("progress").setAttribute("aria-label", `${file.name}, sent`);
      list.append(row);
      waiting.push([file, row]);
    }
    next();
  }

  function next() {
    if (busy || !waiting.length) return;
    const [file, row] = waiting.shift();
    if (file.size > Number(form.dataset.most)) return refuse(row, `A file may have at most ${form.dataset.mostWords}; compress or split it.`);
    busy = true;
    const data = new FormData();
    for (const name of ["csrfmiddlewaretoken", "project"]) data.append(name, form.elements[name].value);
    data.append("file", file);
    const call = new XMLHttpRequest();
    call.open("POST", form.action);
    call.setRequestHeader("Accept", "application/json");
    call.upload.addEventListener("progress", (event) => tell(row, (100 * event.loaded) / event.total));
    call.addEventListener("load", () => {
      busy = false;
      if (call.status === 202) done(row, file.name, JSON.parse(call.responseText).url);
      else refuse(row, reason(call));
    });
    call.addEventListener("error", () => {
      busy = false;
      refuse(row, "The connection broke off. Send the file again; nothing of it was counted.");
    });
    call.send(data);
  }

  function tell(row, percent) {
    row.querySelector("progress").value = percent;
    row.querySelector("[data-words]").textContent = `${Math.floor(percent)} %`;
  }

  function done(row, name, url) {
    tell(row, 100);
    row.querySelector("[data-words]").textContent = "sent";
    const link = document.createElement("a");
    link.href = url;
    link.textContent = name;
    row.querySelector("[data-name]").replaceChildren(link);
    globalThis.htmx?.ajax("GET", location.pathname, { target: "#imports", swap: "outerHTML" });
    next();
  }

  function refuse(row, words) {
    row.querySelector("[data-words]").textContent = "refused";
    row.querySelector(".mw-progress").classList.add("mw-danger");
    const problem = row.querySelector("[data-problem]");
    problem.querySelector("span").textContent = words;
    problem.hidden = false;
    next();
  }

  function reason(call) {
    try {
      const problem = JSON.parse(call.responseText);
      return problem.detail || problem.title;
    } catch {
      return `It was refused with ${call.status}. Try again, or load the page anew.`;
    }
  }
})();
