// Uploads that no answer came to: what is said of them, in the words of their forms.
"use strict";

const uploads = (() => {
  // A browser neither reads nor sends a file that was changed after it was first read; one that is
  // gone seems empty.
  async function isChanged(file) {
    try {
      return (await file.slice(0, 1).arrayBuffer()).byteLength === 0;
    } catch {
      return true;
    }
  }

  function tell(place, sentence) {
    const line = document.createElement("p");
    line.className = "notice bad";
    line.setAttribute("role", "alert");
    line.textContent = sentence;
    place.replaceChildren(line);
  }

  // --- those that htmx sends --------------------------------------------------------------------
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.matches("[data-upload]")) event.detail.target.replaceChildren();
  });
  document.addEventListener("htmx:sendError", async (event) => {
    const form = event.target;
    if (!form.matches("[data-upload]")) return;
    const input = form.querySelector("[type=file]");
    const needsChoice = await isChanged(input.files[0]);
    if (needsChoice) input.value = "";
    tell(event.detail.target, needsChoice ? form.dataset.changed : form.dataset.lost);
  });

  return { isChanged, tell };
})();
