// Files that are chosen or dropped are sent one after the other, each with how far it is. Without scripts the form sends one.
(() => {
  "use strict";
  const form = document.querySelector("[data-upload]");
  if (!form) return;
  const drop = form.querySelector("[data-drop]");
  const input = form.querySelector("input[type=file]");
  const list = form.querySelector("[data-sent]");
  const said = form.querySelector("[data-said]");
  const item = form.querySelector("[data-sent-item]").content.firstElementChild;
  const AGAIN_AFTER = 5000; // milliseconds, where the server has no place for one more now
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
  drop.addEventListener("dragleave", (event) => {
    if (!drop.contains(event.relatedTarget)) drop.classList.remove("mw-over");
  });
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("mw-over");
    // A folder looks like a file that cannot be read.
    const folders = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry?.()?.isDirectory);
    if (form.elements.project.reportValidity()) add([...event.dataTransfer.files], folders);
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add([...input.files]);
    input.value = "";
  });

  addEventListener("beforeunload", (event) => {
    if (busy || waiting.length) event.preventDefault();
  });

  function add(files, folders = []) {
    const project = form.elements.project.value;
    files.forEach((file, place) => {
      const row = item.cloneNode(true);
      row.querySelector("[data-name]").textContent = file.name;
      row.querySelector("progress").setAttribute("aria-label", `${file.name}, sent`);
      list.append(row);
      const one = { file, row, project };
      const stop = row.querySelector("[data-stop]");
      stop.setAttribute("aria-label", `Do not send ${file.name}`);
      stop.addEventListener("click", () => halt(one));
      if (folders[place]) refuse(one, "A folder cannot be sent; drop the files in it.");
      else if (file.size > Number(form.dataset.most)) refuse(one, `A file may have at most ${form.dataset.mostWords}; compress or split it.`);
      else waiting.push(one);
    });
    next();
  }

  function next() {
    if (busy || !waiting.length) return;
    const one = waiting.shift();
    busy = true;
    const data = new FormData();
    data.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    data.append("project", one.project);
    data.append("file", one.file);
    const call = (one.call = new XMLHttpRequest());
    call.open("POST", form.action);
    call.setRequestHeader("Accept", "application/json");
    call.upload.addEventListener("progress", (event) => tell(one.row, (100 * event.loaded) / event.total));
    call.addEventListener("load", () => answered(one, call));
    call.addEventListener("error", () => refuse(one, "The connection broke off, or the file changed. Send it again; nothing of it was counted."));
    call.addEventListener("loadend", () => {
      if (one.later) return;
      busy = false;
      next();
    });
    call.send(data);
  }

  function answered(one, call) {
    if (call.status === 202) return done(one, JSON.parse(call.responseText).url);
    if (new URL(call.responseURL).pathname !== new URL(form.action).pathname) return refuse(one, "You are signed out. Load the page anew, sign in, and send it again.");
    const problem = problemOf(call);
    if (!["too_many_imports", "too_many_uploads"].includes(problem.code)) {
      return refuse(one, problem.detail || problem.title || `It was refused with ${call.status}. Try again, or load the page anew.`);
    }
    // It keeps its turn: those behind it would meet the same.
    tell(one.row, 0, "waits for its turn");
    waiting.unshift(one);
    one.later = setTimeout(() => {
      one.later = null;
      busy = false;
      next();
    }, AGAIN_AFTER);
  }

  function problemOf(call) {
    try {
      return JSON.parse(call.responseText);
    } catch {
      return {};
    }
  }

  function tell(row, percent, words) {
    row.querySelector("progress").value = percent;
    row.querySelector("[data-words]").textContent = words ?? `${Math.floor(percent)} %`;
  }

  function done(one, url) {
    tell(one.row, 100, "sent");
    const link = document.createElement("a");
    link.href = url;
    link.textContent = one.file.name;
    one.row.querySelector("[data-name]").replaceChildren(link);
    end(one.row, link);
    said.textContent = `${one.file.name} is sent.`;
    globalThis.htmx?.ajax("GET", location.pathname, { source: list, target: "#imports", swap: "outerHTML" });
  }

  function refuse(one, words) {
    tell(one.row, 0, "refused");
    one.row.querySelector(".mw-progress").classList.add("mw-danger");
    const problem = one.row.querySelector("[data-problem]");
    problem.querySelector("span").textContent = words;
    problem.hidden = false;
    end(one.row, problem);
    said.textContent = `${one.file.name} was refused. ${words}`;
  }

  function halt(one) {
    const place = waiting.indexOf(one);
    if (place >= 0) waiting.splice(place, 1);
    tell(one.row, 0, "stopped");
    end(one.row, input);
    said.textContent = `${one.file.name} is not sent.`;
    if (one.later) {
      clearTimeout(one.later);
      one.later = null;
      busy = false;
      next();
    } else one.call?.abort();
  }

  // The button goes; who stood on it stands on what came of it.
  function end(row, heir) {
    const stop = row.querySelector("[data-stop]");
    const stood = stop === document.activeElement;
    stop.remove();
    if (stood) heir.focus();
  }
})();
