/* Mark formulas inside lines that are wider than their column. */
function markWide() {
  for (const formula of document.querySelectorAll("span.math mjx-container")) {
    formula.classList.remove("wide");
    const block = formula.closest("p, li, dd, td, figcaption");
    if (block && formula.getBoundingClientRect().width > block.clientWidth) formula.classList.add("wide");
  }
}
window.addEventListener("load", () => {
  if (!window.MathJax || !window.MathJax.startup) return;
  window.MathJax.startup.promise.then(markWide);
  window.addEventListener("resize", markWide);
});
