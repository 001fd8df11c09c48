// What the theme leaves open: boxes that scroll can be reached by keyboard, the sidebar's search
// answers to "/", code that goes on to the right says so, folds open on paper, and searching works
// from a folder without a server.
(function () {
  "use strict";

  if (typeof DOCUMENTATION_OPTIONS !== "undefined" && location.protocol === "file:") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // summaries are fetched, which folders forbid
  }

  function stops() {
    document.querySelectorAll(".scrolls").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Scrolls sideways");
      } else {
        ["tabindex", "role", "aria-label"].forEach(function (name) { box.removeAttribute(name); });
      }
    });
  }

  function moreCode(pre) {
    var more = pre.scrollLeft + pre.clientWidth < pre.scrollWidth - 1;
    pre.parentElement.classList.toggle("goes-on", more);
  }

  function watchCode() {
    document.querySelectorAll(".highlight > pre").forEach(function (pre) {
      pre.onscroll = function () { moreCode(pre); };
      moreCode(pre);
    });
  }

  function focusSearch(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable) return;
    var field = document.querySelector(".bd-search input");
    if (field && field.offsetParent) {
      event.preventDefault();
      field.focus();
    }
  }

  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("article details:not([open]):not(.hide)"));
    folded.forEach(function (fold) { fold.open = true; });
  });
  window.addEventListener("afterprint", function () {
    folded.forEach(function (fold) { fold.open = false; });
  });
  window.addEventListener("resize", stops);
  window.addEventListener("resize", watchCode);
  document.addEventListener("keydown", focusSearch);
  if (document.fonts && document.fonts.ready) document.fonts.ready.then(stops);
  stops();
  watchCode();
})();
