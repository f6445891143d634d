// The page's own behaviour: opening and closing the panel, colours, and addresses of single numbers.

const panel = document.getElementById("panel");
const heading = document.getElementById("panel-title");
let opener = null;

function open(button, { focus = true } = {}) {
  const subject = subjects.get(button);
  close({ focus: false });
  opener = button;
  button.setAttribute("aria-expanded", "true");
  const isCell = subject.kind === "cell";
  document.getElementById("panel-where").textContent = isCell ? subject.table.title : subject.figure.source;
  heading.textContent = isCell ? `${subject.row[1]}, ${subject.column[1]}` : subject.figure.title;
  document.getElementById("panel-body").replaceChildren(...ancestry(subject).flat(Infinity).filter(Boolean));
  panel.hidden = false;
  panel.scrollTop = 0;
  document.body.classList.add("opened");
  history.replaceState(null, "", `#=${encodeURIComponent(subject.id)}`);
  if (focus) heading.focus();
}

function close({ focus = true } = {}) {
  if (!opener) return;
  opener.setAttribute("aria-expanded", "false");
  panel.hidden = true;
  document.body.classList.remove("opened");
  if (focus) {
    history.replaceState(null, "", location.pathname + location.search);
    opener.focus();
  }
  opener = null;
}

/** Open what the address names: `#=table/row/column` or `#=figure`. */
function follow() {
  if (!location.hash.startsWith("#=")) return;
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(2)); } catch { return; }
  const button = buttons.find((each) => subjects.get(each).id === wanted);
  if (button) { open(button); button.scrollIntoView({ block: "center", inline: "center" }); }
}

function paint(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = choice;
  for (const button of document.querySelectorAll("[data-theme-choice]")) button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
}

function remembered() {
  try { return localStorage.getItem("utopia-theme"); } catch { return null; }
}

function remember(choice) {
  try { localStorage.setItem("utopia-theme", choice); } catch { /* a page from a file may be refused a memory */ }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (subjects.has(button)) { if (button === opener) close(); else open(button); }
  if (button.id === "panel-close") close();
  if (button.dataset.themeChoice) { paint(button.dataset.themeChoice); remember(button.dataset.themeChoice); }
  if (button.id === "stale-chip") { controls.stale.checked = !controls.stale.checked; choose(); }
  if (button.dataset.kind !== undefined) { controls.kind.value = controls.kind.value === button.dataset.kind ? "" : button.dataset.kind; choose(); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && opener && !zoomed.open) { event.preventDefault(); close(); } });
controls.kind.addEventListener("change", choose);
controls.stale.addEventListener("change", choose);
controls.by.addEventListener("change", offer);
controls.what.addEventListener("input", choose);
controls.next.addEventListener("click", next);
controls.clear.addEventListener("click", () => { controls.kind.value = ""; controls.stale.checked = false; controls.by.value = ""; offer(); });
window.addEventListener("hashchange", follow);

const theme = remembered();
if (["light", "dark"].includes(theme)) paint(theme);
document.getElementById("filters").hidden = false;
choose();
follow();
document.documentElement.dataset.ready = "";
