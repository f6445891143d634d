// What tables and figures can do: sort by a column, be searched for, be taken along as one CSV, be enlarged.

/** The number that a cell shows; what has none comes last. */
function sortable(cell) {
  const button = cell?.querySelector("button.n");
  if (button?.dataset.c === undefined) return cell?.querySelector("small") ? null : cell?.textContent.trim() || null;
  const { v, p, k } = subjects.get(button).cell;
  return (k === "quoted" ? p : v) ?? null;
}

/** Sort the rows of each group of a table; a third time brings back the printed order. */
function sortBy(head) {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const way = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] ?? "ascending";
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  if (way !== "none") head.setAttribute("aria-sort", way);
  const groups = [];
  for (const row of body.querySelectorAll("tr")) {
    row.dataset.place ??= String([...body.rows].indexOf(row));
    if (row.classList.contains("group")) groups.push([row, []]);
    else (groups.at(-1) ?? groups[groups.push([null, []]) - 1])[1].push(row);
  }
  if (way === "none") { body.append(...[...body.rows].sort((a, b) => a.dataset.place - b.dataset.place)); return; }
  const sign = way === "ascending" ? 1 : -1;
  for (const [group, rows] of groups) {
    const values = new Map(rows.map((row) => [row, sortable(row.cells[column])]));
    rows.sort((one, other) => {
      const a = values.get(one), b = values.get(other);
      if (a === null || b === null) return (a === null) - (b === null);
      if (typeof a === "number" && typeof b === "number") return sign * (a - b);
      return typeof a === typeof b ? sign * a.localeCompare(b, "en", { numeric: true }) : (typeof a === "number" ? -1 : 1);
    });
    body.append(...(group ? [group] : []), ...rows);
  }
}

for (const head of document.querySelectorAll("section.result:not(#coverage) > .wide > table > thead th")) {
  const button = h("button", { type: "button", class: "sort", title: "Sort" });
  button.append(...head.childNodes);
  head.append(button, ...button.querySelectorAll(".refs"));
  button.addEventListener("click", () => sortBy(head));
}

const named = new Map([...subjects.values()].map((subject) => [`#=${subject.id}`, subject]));
for (const dot of document.querySelectorAll(".against a")) {
  const { row, column, cell } = named.get(dot.getAttribute("href"));
  dot.prepend(svg("title", {}, `${row[1]}, ${column[1]}: published ${rounded(cell.p, cell.d)}, ours ${rounded(cell.v, cell.d)} (${KIND_WORDS[cell.k]})`));
}

/** Show only the entries of the contents that have all words, in their own titles or in the rows of their tables. */
function seek() {
  const words = document.getElementById("seek").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const entry of document.querySelectorAll(".contents li")) {
    const table = data.tables.find((each) => `#${each.id}` === entry.querySelector("a").getAttribute("href"));
    const text = `${entry.textContent} ${table ? [...table.rows, ...table.columns].map((each) => each[1]).join(" ") : ""}`.toLowerCase();
    entry.hidden = !words.every((word) => text.includes(word));
    count += !entry.hidden;
  }
  document.getElementById("seek-found").textContent = words.length ? counted(count, "entry", "entries") : "";
}

/** Every cell of every table as CSV, with all digits. */
function allCells() {
  const quote = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [["cell", "row", "column", "value", "std", "seeds", "low", "high", "published", "verdict", "difference", "reason"]];
  for (const [button, subject] of subjects) {
    const { cell } = subject;
    if (cell) lines.push([subject.id, subject.row[1], subject.column[1], cell.v, cell.sd, cell.n, cell.lo, cell.hi, cell.p, cell.k === "quoted" ? "quoted" : cell.ve, cell.df?.[1], text(cell.r)]);
  }
  return lines.map((line) => line.map((value) => quote(String(value ?? ""))).join(",")).join("\n") + "\n";
}

document.getElementById("all-cells").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([allCells()], { type: "text/csv" }));
  h("a", { href: address, download: `${data.study}-cells.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});
document.getElementById("seek").addEventListener("input", seek);
document.querySelector(".seek").hidden = false;

const zoomed = document.getElementById("zoomed");
for (const button of document.querySelectorAll("button.zoom")) button.addEventListener("click", () => {
  zoomed.querySelector("img")?.remove();
  const { src, alt } = button.querySelector("img");
  zoomed.append(h("img", { src, alt }));
  zoomed.showModal();
});
zoomed.addEventListener("click", (event) => { if (event.target === zoomed || event.target.closest("button")) zoomed.close(); });
