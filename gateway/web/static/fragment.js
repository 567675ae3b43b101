"use strict";
// An implicit grant's answer stands behind the # of this page's address. First it leaves the address and the history;
// then it goes to the gateway in the body of a form.
(() => {
  const fragment = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  document.addEventListener("DOMContentLoaded", () => {
    if (fragment === "") {
      document.getElementById("arriving").hidden = true;
      document.getElementById("nothing").hidden = false;
      return;
    }
    const form = document.getElementById("arrived");
    form.elements.namedItem("fragment").value = fragment;
    form.submit();
  });
})();
