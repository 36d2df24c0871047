// Security keys and passkeys: a form with data-webauthn asks the browser for a credential, puts the answer in its hidden
// fields and sends itself. The options stand in data-options, or come from data-begin when they are wanted.
(() => {
  "use strict";
  const forms = document.querySelectorAll("form[data-webauthn]");
  if (!forms.length) return;

  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");
  const listed = (credentials) => credentials?.map((each) => ({ ...each, id: bytes(each.id) }));

  function readable(options) {
    const made = { ...options, challenge: bytes(options.challenge) };
    if (options.user) made.user = { ...options.user, id: bytes(options.user.id) };
    if (options.excludeCredentials) made.excludeCredentials = listed(options.excludeCredentials);
    if (options.allowCredentials) made.allowCredentials = listed(options.allowCredentials);
    return made;
  }

  function sendable(credential) {
    const { response } = credential;
    const answer = { clientDataJSON: text(response.clientDataJSON) };
    if (response.attestationObject) {
      answer.attestationObject = text(response.attestationObject);
      answer.transports = response.getTransports?.() ?? [];
    } else {
      answer.authenticatorData = text(response.authenticatorData);
      answer.signature = text(response.signature);
      if (response.userHandle) answer.userHandle = text(response.userHandle);
    }
    return {
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response: answer,
      clientExtensionResults: credential.getClientExtensionResults(),
    };
  }

  async function begun(form) {
    if (form.dataset.options) return { token: form.elements.challenge_token.value, options: JSON.parse(form.dataset.options) };
    const answer = await fetch(form.dataset.begin, { method: "POST", headers: { Accept: "application/json" } });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail);
    return { token: body.challenge_token, options: body.options };
  }

  const REASONS = {
    NotAllowedError: "Nothing was confirmed. Try again, and follow what your browser asks.",
    InvalidStateError: "This key is enrolled already.",
    SecurityError: "This page was opened at an address that keys are not made for.",
    NotSupportedError: "Your browser or key cannot do this.",
  };

  async function ask(form) {
    const { token, options } = await begun(form);
    const publicKey = readable(options);
    const creates = form.dataset.webauthn === "create";
    const credential = creates
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    form.elements.challenge_token.value = token;
    form.elements.credential.value = JSON.stringify(sendable(credential));
  }

  for (const form of forms) {
    const problem = form.querySelector("[data-webauthn-problem]");
    const say = (words) => {
      problem.querySelector("p").textContent = words;
      problem.hidden = !words;
    };
    if (!window.PublicKeyCredential) {
      say("This browser cannot use security keys or passkeys.");
      continue;
    }
    let isReady = false;
    form.addEventListener("submit", async (event) => {
      if (isReady) return;
      event.preventDefault();
      const button = form.querySelector("[type=submit]");
      button.disabled = true;
      say("");
      try {
        await ask(form);
        isReady = true;
        form.submit();
      } catch (error) {
        say(REASONS[error.name] ?? error.message ?? "This did not work.");
        button.disabled = false;
      }
    });
  }
})();
