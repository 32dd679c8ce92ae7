// A new batch: drop a file, look at its beginning, correct what columns mean, send it.
"use strict";

(() => {
  const form = document.getElementById("new");
  const look = document.getElementById("look");
  const told = document.getElementById("told");
  const progress = document.getElementById("progress");
  const drop = form.querySelector("[data-drop]");
  const input = form.querySelector("[data-file]");
  const after = form.querySelector("[data-after]");
  const headers = JSON.parse(document.body.getAttribute("hx-headers"));
  const lookBytes = 256 * 1024;
  const wholeBytes = 24 * 1024 * 1024;
  const followMilliseconds = 700;
  let file = null;
  let sending = null;
  let asked = 0;

  const kind = () => form.querySelector("[name=kind]:checked").value;

  function showKind() {
    const agent = form.querySelector("[name=agent_id]").value;
    for (const field of form.querySelectorAll("[data-for]")) field.hidden = field.dataset.for !== kind();
    const named = form.querySelector("[data-new-agent]");
    named.hidden = named.hidden || agent !== "new";
    // Asked for before the file is sent, and only where it can be seen.
    named.querySelector("input").required = !named.hidden;
  }

  // What was said goes along only where it still holds: another file begins anew, and with another
  // kind or encoding the columns do.
  const COLUMNS = /^(column|meaning)\./;
  const ENCODING = /^encoding$/;

  async function lookAt(...kept) {
    const form_ = new FormData();
    form_.append("kind", kind());
    for (const [name, value] of new FormData(form)) {
      if (kept.some((one) => one.test(name))) form_.append(name, value);
    }
    const isSheet = /\.xlsx$/i.test(file.name);
    const part = isSheet ? file.slice(0, wholeBytes) : file.slice(0, lookBytes);
    if (part.size === file.size) form_.append("is_whole", "yes");
    form_.append("file", part, file.name);
    const mine = ++asked;
    const answer = await fetch(form.dataset.look, {
      method: "POST", body: form_, headers: { ...headers, "HX-Request": "true" },
    });
    const html = await answer.text();
    if (mine !== asked) return;
    const focused = document.activeElement?.name;
    if (answer.headers.has("HX-Redirect")) location.assign(answer.headers.get("HX-Redirect"));
    look.innerHTML = html;
    document.getElementById("look-told").textContent = look.querySelector("[data-told]")?.textContent ?? "";
    after.hidden = !answer.ok;
    told.replaceChildren();
    if (focused) form.elements[focused]?.focus?.();
  }

  function take(chosen) {
    if (!chosen) return;
    file = chosen;
    form.querySelector("[data-file-name]").textContent = file.name;
    lookAt().catch(() => explain(form.dataset.lost));
  }

  // Why no answer came: the file itself may be the reason.
  async function explain(sentence) {
    uploads.tell(told, (await uploads.isChanged(file)) ? form.dataset.changed : sentence);
  }

  // The same file is a change only where none was chosen before.
  input.addEventListener("click", () => { input.value = ""; });
  input.addEventListener("change", () => take(input.files[0]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  form.addEventListener("change", (event) => {
    if (event.target.name === "kind" || event.target.name === "agent_id") showKind();
    if (file === null || sending !== null) return;
    const lost = () => explain(form.dataset.lost);
    if (event.target.name === "kind" || event.target.matches("[data-encoding]")) lookAt(ENCODING).catch(lost);
    if (event.target.matches("[data-meaning]")) lookAt(COLUMNS, ENCODING).catch(lost);
  });

  // --- sending ----------------------------------------------------------------------------------
  // Where a connection breaks the browser may send again by itself, and find its own upload there.
  const TAKEN = 409;

  // A server that stops, and a proxy that lost it, say nothing about the file.
  const isLost = (status) => status === 0 || status === TAKEN || status > 500;

  function lock(isLocked) {
    for (const element of form.elements) element.disabled = isLocked;
    progress.hidden = !isLocked;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file === null || sending !== null) return;
    const id = crypto.randomUUID?.() ?? uuid();
    const body = new FormData(form);
    body.append("upload_id", id);
    body.append("file", file, file.name);
    told.replaceChildren();
    lock(true);
    // As far as the browser tells: what is small it may send without a word.
    let share = 0;
    sending = new XMLHttpRequest();
    sending.open("POST", form.dataset.upload);
    for (const [name, value] of Object.entries({ ...headers, "HX-Request": "true" })) sending.setRequestHeader(name, value);
    sending.upload.addEventListener("progress", (sent) => {
      if (!sent.lengthComputable || !sent.loaded) return;
      share = sent.loaded / sent.total;
      progress.querySelector("progress").value = 100 * share;
    });
    sending.upload.addEventListener("load", () => { share = 1; });
    const follow = setInterval(() => tell(id), followMilliseconds);
    sending.addEventListener("loadend", async () => {
      clearInterval(follow);
      const answer = sending;
      const onward = answer.getResponseHeader("HX-Redirect")
        ?? (isLost(answer.status) ? await findOut(id, share) : null);
      sending = null;
      if (onward) {
        location.assign(onward);
        return;
      }
      lock(false);
      if (!isLost(answer.status) || answer.status === TAKEN) told.innerHTML = answer.responseText;
      else if (share === 0) explain(form.dataset.unsure);
      else uploads.tell(told, share < 1 ? form.dataset.lost : form.dataset.unsure);
    });
    sending.send(body);
  });

  // A list that was sent whole may be in all the same: where it leads to then, or null.
  async function findOut(id, share) {
    for (;;) {
      const answer = await tell(id);
      const onward = answer?.ok ? answer.headers.get("HX-Redirect") : null;
      const isComing = answer?.status === 200 && (share === 0 || share === 1);
      if (onward || !isComing) return onward;
      await new Promise((done) => { setTimeout(done, followMilliseconds); });
    }
  }

  // Return the answer, or null where there is none.
  async function tell(id) {
    try {
      const answer = await fetch(form.dataset.progress + id, { headers: { "HX-Request": "true" } });
      // Before its first block the upload is not known yet.
      if (answer.status === 200) document.getElementById("progress-told").innerHTML = await answer.text();
      return answer;
    } catch {
      return null;
    }
  }

  // Pages without encryption have no `randomUUID`.
  function uuid() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  window.addEventListener("beforeunload", (event) => { if (sending !== null) event.preventDefault(); });
  showKind();
})();
