// Sorting, filtering and enlarging. Without this script, pages show the same contents.
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// A click on the title of a column sorts the table; a field above a long table filters its rows.
const LONG = 10;
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head) => {
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const words = (row) => row.cells[head.cellIndex].textContent.trim();
      const value = (row) => parseFloat(words(row).replaceAll(",", ""));
      const falling = head.getAttribute("aria-sort") === "ascending" ||
        (!head.hasAttribute("aria-sort") && head.classList.contains("number"));
      const isNumber = head.classList.contains("number");
      const all = [...table.tBodies[0].rows];
      const rows = all.filter((row) => !isNumber || !isNaN(value(row))).sort((a, b) =>
        isNumber ? value(a) - value(b) : words(a).localeCompare(words(b)));
      if (falling) rows.reverse();
      const others = all.filter((row) => !rows.includes(row));  // without a number: always last
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      table.tBodies[0].append(...rows, ...others);
    });
  });
}
for (const table of document.querySelectorAll("table.sortable, table.matrix")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length <= LONG) continue;
  const field = make("input", { type: "search", placeholder: "Filter by class" });
  field.setAttribute("aria-label", field.placeholder);
  field.addEventListener("input", () => {
    const words = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(words);
  });
  table.parentElement.before(field);
}

// A click on an image enlarges it. The arrow keys show the others, and Escape closes the dialog.
const thumbnails = [...document.querySelectorAll("button.enlarge")];
const dialog = make("dialog"), large = make("img"), caption = make("p");
let shown = 0;
const show = (number) => {
  shown = (number + thumbnails.length) % thumbnails.length;
  const small = thumbnails[shown].querySelector("img");
  Object.assign(large, { src: small.src, alt: small.alt });
  const words = thumbnails[shown].closest("figure").querySelector("figcaption");
  caption.replaceChildren(...words.cloneNode(true).childNodes);
};
const control = (text, title, action) => {
  const button = make("button", { type: "button", textContent: text, title });
  button.addEventListener("click", action);
  return button;
};
const close = control("\u00d7", "Close", () => dialog.close());
const previous = control("\u2039", "Previous", () => show(shown - 1));
const next = control("\u203a", "Next", () => show(shown + 1));
dialog.append(next, previous, close, large, caption);
document.body.append(dialog);
thumbnails.forEach((thumbnail, number) => thumbnail.addEventListener("click", () => {
  show(number);
  dialog.showModal();
}));
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && dialog.open) show(shown + step);
});
