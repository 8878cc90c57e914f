for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const words = (row) => row.cells[head.cellIndex].textContent.trim();
      const value = (row) => parseFloat(words(row).replaceAll(",", ""));
      const falling = head.getAttribute("aria-sort") === "ascending" ||
        (!head.hasAttribute("aria-sort") && head.classList.contains("number"));
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        if (!head.classList.contains("number")) return words(a).localeCompare(words(b));
        return (isNaN(value(a)) ? -1e9 : value(a)) - (isNaN(value(b)) ? -1e9 : value(b));
      });
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      table.tBodies[0].append(...(falling ? rows.reverse() : rows));
    });
  });
}
