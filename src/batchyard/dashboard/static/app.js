// What pages do in the browser: keep themselves up to date, ask in a dialog, tell time.
"use strict";

(() => {
  const lang = document.documentElement.lang;

  // --- live pieces ------------------------------------------------------------------------------
  // The server sends the inner HTML of elements by their ids. Only what differs is touched, so a
  // click, the focus, an open detail and what was typed survive.
  const keeps = {
    morphStyle: "innerHTML",
    callbacks: {
      beforeNodeMorphed: (node) => !(node instanceof Element && node.matches("input, select, textarea")),
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.matches("details")),
    },
  };

  function applyPieces(pieces) {
    for (const [id, html] of Object.entries(pieces)) {
      const element = document.getElementById(id);
      if (element === null) continue;
      if (element.childElementCount === 0 && !html.includes("<")) element.textContent = html;
      else Idiomorph.morph(element, html, keeps);
      htmx.process(element);
    }
    tellTimes();
  }

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    event.preventDefault();
    applyPieces(JSON.parse(event.detail.data));
  });
  document.addEventListener("htmx:sseClose", (event) => {
    // Signed out, or what the page is about is gone: the server knows where to go.
    if (event.detail.type === "message") location.reload();
  });

  // A browser lends a page few connections to one server: a page nobody looks at needs none, and
  // one that is opened behind the others has never been looked at.
  const streams = new Set();
  function openStream(url) {
    const stream = new EventSource(url, { withCredentials: true });
    if (document.hidden) stream.close();
    else streams.add(stream);
    return stream;
  }
  // The page of a fault has no live pieces, and no htmx.
  if ("htmx" in window) htmx.createEventSource = openStream;
  document.addEventListener("visibilitychange", () => {
    const live = document.querySelector("[data-live]");
    if (live === null) return;
    if (document.hidden) {
      for (const stream of streams) stream.close();
      streams.clear();
    } else if (streams.size === 0) {
      const renewed = live.cloneNode(false);
      live.replaceWith(renewed);
      htmx.process(renewed);
    }
  });

  // --- dialog -----------------------------------------------------------------------------------
  const dialog = document.getElementById("dialog");
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === dialog && !dialog.open) dialog.showModal();
  });
  document.addEventListener("click", (event) => {
    const closing = event.target.closest("[data-close]");
    if (closing !== null && closing.closest("dialog") !== null) {
      event.preventDefault();
      dialog.close();
    }
    if (event.target === dialog) dialog.close();
    if (event.target.closest("[data-back]") !== null && history.length > 1) {
      event.preventDefault();
      history.back();
    }
  });
  dialog?.addEventListener("close", () => { dialog.replaceChildren(); });

  // --- forms ------------------------------------------------------------------------------------
  // Twice pressed is once done.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
  document.addEventListener("htmx:xhr:progress", (event) => {
    const bar = document.querySelector("progress.upload");
    if (bar === null || !event.detail.total) return;
    bar.hidden = false;
    bar.value = (100 * event.detail.loaded) / event.detail.total;
  });
  document.addEventListener("htmx:afterRequest", () => {
    const bar = document.querySelector("progress.upload");
    if (bar !== null) bar.hidden = true;
  });

  // --- tabs on narrow screens ------------------------------------------------------------------
  for (const tab of document.querySelectorAll(".tabs [aria-current], .places [aria-current]")) {
    tab.scrollIntoView({ block: "nearest", inline: "center" });
  }

  // --- times ------------------------------------------------------------------------------------
  const relative = new Intl.RelativeTimeFormat(lang, { numeric: "always" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function tellTimes() {
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const seconds = (new Date(element.dateTime) - Date.now()) / 1000;
      const distance = Math.abs(seconds);
      // The first moments, and what is weeks away, are said by the server.
      if (distance < 10 || distance > 28 * 86400) continue;
      const [unit, length] = units.find(([, size]) => distance >= size * 1.2) ?? units.at(-1);
      const told = relative.format(Math.round(seconds / length), unit);
      if (element.textContent !== told) element.textContent = told;
    }
  }
  setInterval(tellTimes, 5000);
})();
