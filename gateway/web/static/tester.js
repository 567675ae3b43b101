"use strict";
// Says while somebody types whether a URL would be allowed by what stands in the form. The button does so without this.
(() => {
  document.addEventListener("DOMContentLoaded", () => {
    const place = document.querySelector("[data-check]");
    const said = document.getElementById("checked");
    if (!place || !said) return;
    const form = place.closest("form");
    const url = document.getElementById("check-url");
    let timer = 0;
    let newest = 0;
    const ask = async () => {
      const number = ++newest;
      const body = new URLSearchParams();
      for (const [name, value] of new FormData(form)) {
        if (!name.startsWith("secret.") && !name.startsWith("sealed.") && !name.startsWith("try.")) body.append(name, value);
      }
      let answer = { allowed: null, words: "", hint: "" };
      if (url.value.trim() !== "") {
        try {
          const response = await fetch(place.dataset.check, { method: "POST", body });
          if (!response.ok) return;
          answer = await response.json();
        } catch {
          return;
        }
      }
      if (number !== newest) return;
      said.className = answer.allowed === null ? "" : answer.allowed ? "good" : "bad";
      said.replaceChildren(...[answer.words, answer.hint].filter(Boolean).map((text) => {
        const line = document.createElement("p");
        line.textContent = text;
        return line;
      }));
    };
    form.addEventListener("input", (event) => {
      if (!/^(check\.|allow\.)/.test(event.target.name)) return;
      clearTimeout(timer);
      timer = setTimeout(ask, 250);
    });
  });
})();
