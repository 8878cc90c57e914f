"""The looks of the evaluation's pages: their style, and the script that sorts tables."""

from keras_frcnn.drawing import charts
from keras_frcnn.evaluation.report.judged_images import COLORS

_STYLE = """
body { max-width: 70rem; } body > p, summary { max-width: 48rem; }
thead th { vertical-align: bottom; } .right, th.number { text-align: right; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0; }
.card { background: var(--soft); border-radius: 6px; padding: .8rem 1.1rem; min-width: 9rem; }
.card b { display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.2; }
.card span { font-size: .8rem; color: var(--dim); display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
  gap: 1.5rem 2.5rem; margin-top: 1rem; } .charts figure { max-width: 42rem; }
.charts figcaption { margin: .5rem 0 0; }
.smalls { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr));
  gap: 1rem 1.25rem; margin-top: 1.5rem; } .smalls figcaption { margin: 0; display: flex;
  justify-content: space-between; gap: .5rem; } .smalls b { color: var(--ink); font-weight: 400; }
.images { grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); }
.images img { width: auto; max-width: 100%; max-height: 18rem; }
.images b { color: var(--ink); font-weight: 600; } h3 { font-size: 1rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; } td { white-space: nowrap; } td.words { white-space: normal; }
td:last-child, th:last-child { padding-right: 0; } td.name { overflow-wrap: anywhere;
  white-space: normal; min-width: 6rem; } table .bars { width: 30%; min-width: 8rem; }
.tall .stack { height: 1.4rem; margin: 1rem 0; } .kind { display: inline-block; min-width: 8rem; }
.swatch { display: inline-block; width: .7rem; height: .7rem; background: currentColor;
  margin-right: .5rem; } .missed { color: var(--missed); } .blue { color: var(--blue); }
.swatch.missed, .stack .missed, .legend .missed i { background: none;
  outline: 1px dashed currentColor; outline-offset: -1px; }
.range { position: relative; } .range .whisker { position: absolute; top: .25rem; height: .1rem;
  background: var(--ink); opacity: .55; }
.range.middle { height: .8rem; background: linear-gradient(var(--line), var(--line)) center /
  1px 100% no-repeat; }
.change { position: absolute; top: .1rem; height: .6rem; background: currentColor; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.matrix { width: auto; } .matrix td { text-align: center; min-width: 1.9rem; padding: .15rem;
  border: 1px solid var(--line); font-size: .8rem; } .matrix th { padding: .15rem .5rem;
  border: 0; font-size: .8rem; } .matrix thead td { border: 0; }
.matrix thead th { writing-mode: vertical-rl;
  transform: rotate(180deg); padding: .3rem 0; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
:root { --missed: #5c626b; --blue: #2f7fc4; --step0: #b9d4ee; --step1: #7fb2e2; --step2: #3f8dd0;
  --step3: #1c62a0; --step4: #0d3b66; }
@media (prefers-color-scheme: dark) { :root { --missed: #b9bec6; --blue: #5aa5e6; --step0: #1f4f7d;
  --step1: #2f74b3; --step2: #57a0e0; --step3: #9accf5; --step4: #dbeefd; } }
"""
SORT = """
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
"""
STYLE = "".join(
    [
        charts.STYLE,
        _STYLE,
        *(f".{n} {{ color: var(--{n}); }} :root {{ --{n}: rgb{c}; }}\n" for n, c in COLORS.items()),
        *(f".step{n} {{ color: var(--step{n}); }}\n" for n in range(charts.NUM_SHADES)),
    ]
)
