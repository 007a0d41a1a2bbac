// Keeps a page alive: asks for its figures every two seconds, lets its parts ask for themselves, and has the switch
// that holds all of it still.
window.countroomLive = (url, show) => {
  "use strict";
  const button = document.getElementById("live");
  const words = document.getElementById("live-text");
  const every = 2000;
  let running = true;
  let lost = false;

  const say = () => {
    button.setAttribute("aria-pressed", String(running));
    button.classList.toggle("lost", running && lost);
    words.textContent = !running ? "Paused" : lost ? "Connecting" : "Live";
  };
  const heard = (well) => {
    if (lost === well) {
      lost = !well;
      say();
    }
  };
  const leave = () => location.assign("/backoffice/sign-in");

  button.addEventListener("click", () => {
    running = !running;
    say();
  });
  button.disabled = false; // it comes disabled: a click before this line would be lost
  document.addEventListener("htmx:config:request", (event) => {
    if (!running || document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail.ctx.response.status;
    if (status === 401) leave();
    else heard(status < 500);
  });
  document.addEventListener("htmx:error", () => heard(false));

  // Questions that the page takes with it when it is left are given up, not failed.
  addEventListener("pagehide", () => {
    for (const part of document.querySelectorAll("[hx-get]")) htmx.trigger(part, "htmx:abort");
  });

  const figures = async () => {
    if (!running || document.hidden) return;
    let answer;
    try {
      answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) });
    } catch {
      heard(false);
      return;
    }
    if (answer.status === 401) return leave();
    heard(answer.status < 500);
    if (!answer.ok) return;
    show(await answer.json());
  };
  const tick = async () => {
    await figures();
    setTimeout(tick, every);
  };
  tick();
};
