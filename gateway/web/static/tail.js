"use strict";
// The live tail: reads the stream that the page names, and puts each entry on top of the list, in the row that the
// page has as a template. What comes is text and never markup.
(() => {
  const KEPT = 200;
  const AGAIN = 2000;
  const tail = document.getElementById("tail");
  const log = document.getElementById("log");
  const state = document.getElementById("tail-state");
  const button = document.getElementById("tail-pause");
  const place = new URL(tail.dataset.stream, location.origin);
  let paused = false;
  let standing = "reconnecting";
  let waiting = [];
  let leaving = new AbortController();

  // Rows.

  function row(entry) {
    const made = document.getElementById("row").content.firstElementChild.cloneNode(true);
    for (const part of made.querySelectorAll("[data-part]")) {
      const text = entry[part.dataset.part];
      part.textContent = text;
      if (text === "") part.remove();
    }
    for (const line of made.querySelectorAll("p")) if (line.textContent.trim() === "") line.remove();
    const time = made.querySelector("time");
    time.dateTime = entry.at;
    time.title = entry.moment;
    made.querySelector(".status").classList.add(entry.tone);
    made.querySelector("a").setAttribute("href", entry.href);
    return made;
  }

  function gap(text) {
    const made = document.getElementById("gap").content.firstElementChild.cloneNode(true);
    made.querySelector("[data-part]").textContent = text;
    return made;
  }

  function put(rows) {
    log.prepend(...rows.reverse());
    while (log.childElementCount > KEPT) {
      log.lastElementChild.remove();
      document.querySelector(".pages")?.remove(); // it goes on behind what was the end
    }
    log.hidden = false;
    document.getElementById("log-empty")?.remove();
  }

  function take(told) {
    const rows = told.entries.map(row);
    if (told.left_out !== "") rows.unshift(gap(told.left_out));
    if (!paused) return put(rows);
    waiting = waiting.concat(rows).slice(-KEPT);
    show();
  }

  // What is said.

  function show() {
    const words = paused && standing === "live" ? "paused" : standing;
    if (state.textContent !== tail.dataset[words]) state.textContent = tail.dataset[words];
    state.className = `state ${words}`;
    document.getElementById("tail-count").textContent = String(waiting.length);
    document.getElementById("tail-waiting").hidden = !paused || waiting.length === 0;
    document.getElementById("tail-sign-in").hidden = standing !== "signedOut";
    button.hidden = standing === "signedOut";
    button.textContent = paused ? tail.dataset.resume : tail.dataset.pause;
  }

  function stand(how) {
    standing = how;
    show();
  }

  function pause(whether) {
    paused = whether;
    if (!paused) {
      if (waiting.length > 0) put(waiting);
      waiting = [];
    }
    show();
  }

  button.addEventListener("click", () => pause(!paused));

  // The stream: events as server-sent events have them. Whoever comes back says where it was.

  function heed(event) {
    const said = { id: "", event: "message", data: "" };
    for (const line of event.split("\n")) {
      const at = line.indexOf(": ");
      if (at > 0) said[line.slice(0, at)] = line.slice(at + 2);
    }
    if (said.event === "end") return said.data;
    if (said.data !== "") take(JSON.parse(said.data));
    if (said.id !== "") place.searchParams.set("after", said.id);
    return "";
  }

  async function read() {
    leaving = new AbortController();
    const answer = await fetch(place, {
      headers: { Accept: "text/event-stream" }, redirect: "manual", cache: "no-store", signal: leaving.signal,
    });
    if (answer.type === "opaqueredirect") return "signed-out";
    if (answer.status === 429) return "full";
    if (!answer.ok) return "again";
    stand("live");
    const chunks = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { value, done } = await chunks.read();
      if (done) return "again";
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const end = heed(event);
        if (end !== "") return end;
      }
    }
  }

  async function follow() {
    const how = await read().catch(() => "again");
    if (leaving.signal.aborted) return undefined;
    if (how === "signed-out") {
      stand("signedOut");
      return pause(false);
    }
    stand(how === "full" ? "full" : "reconnecting");
    return setTimeout(follow, AGAIN);
  }

  addEventListener("pagehide", () => leaving.abort());
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  document.getElementById("newer").hidden = true;
  tail.hidden = false;
  show();
  follow();
})();
