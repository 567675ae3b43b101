"use strict";
// Says while somebody types what an allowed URL covers and whether a URL would be allowed, by what stands in the form.
// Enter presses the button that stands beside where one types. The buttons do so without this.
(() => {
  document.addEventListener("DOMContentLoaded", () => {
    const place = document.querySelector("[data-check]");
    const said = document.getElementById("checked");
    if (!place || !said) return;
    const form = place.closest("form");
    let timer = 0;
    let newest = 0;
    const ask = async () => {
      const number = ++newest;
      const body = new URLSearchParams();
      for (const [name, value] of new FormData(form)) {
        if (!name.startsWith("secret.") && !name.startsWith("sealed.") && !name.startsWith("try.")) body.append(name, value);
      }
      let answer;
      try {
        const response = await fetch(place.dataset.check, { method: "POST", body });
        if (!response.ok) return;
        answer = await response.json();
      } catch {
        return;
      }
      if (number !== newest) return;
      said.className = answer.allowed === null ? "" : answer.allowed ? "good" : "bad";
      said.replaceChildren(...[answer.words, answer.hint].filter(Boolean).map((text) => {
        const line = document.createElement("p");
        line.textContent = text;
        return line;
      }));
      for (const [name, words] of Object.entries(answer.covers)) {
        const line = document.getElementById(`${name.replaceAll(".", "-")}-words`);
        if (line && line.className === "help") line.textContent = words;
      }
    };
    form.addEventListener("input", (event) => {
      if (!/^(check\.|allow\.)/.test(event.target.name)) return;
      clearTimeout(timer);
      timer = setTimeout(ask, 250);
    });
    // A form's Enter presses its first button, which stands at the top: the page would come back there.
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || event.target.tagName !== "INPUT") return;
      const beside = event.target.closest(".checker, .try")?.querySelector("button[data-enter]");
      const step = event.target.closest("section.step");
      if (beside) {
        event.preventDefault();
        beside.click();
      } else if (step) {
        form.querySelector("button[value=check]").formAction = `${form.getAttribute("action")}#${step.id}`;
      }
    });
  });
})();
