// ---------------------------------------------------------------- begin

const all = JSON.parse($("boards").textContent);
$("suites").append(...all.map(({ name, title }) =>
  make("a", { href: `#${encodeURIComponent(name)}`, "data-name": name, title }, name.replaceAll("-", " "))));
$("suites").hidden = all.length < 2;
$("chooser").addEventListener("input", ({ target }) => {
  if (target.name === "metric") filter();
  answer();
  remember();
});
$("chooser").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("input", filter);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("reset", () => setTimeout(filter));
$("table").addEventListener("click", (event) => act(event.target));
$("table").addEventListener("keydown", move);
$("details").addEventListener("click", (event) => {
  if (event.target === $("details")) $("details").close(); // beside it
});
addEventListener("hashchange", open);
open();
