// Which numbers are chosen: by verdict, by being stale, by what has touched them.

const controls = Object.fromEntries(["kind", "stale", "by", "what", "known", "found", "next", "clear"].map((name) => [name, document.getElementById(`f-${name}`)]));
const buttons = [...document.querySelectorAll("button.n")];
const subjects = new Map(buttons.map((button) => [button, subjectOf(button)]));
for (const button of buttons) for (const [name, value] of [["type", "button"], ["aria-expanded", "false"], ["aria-controls", "panel"]]) button.setAttribute(name, value);
const contents = new Map([...document.querySelectorAll(".contents li")].map((entry) => [entry.querySelector("a").getAttribute("href").slice(1), entry]));
let chosen = buttons;

/** The values that a choice of "touched by" offers. */
function offered(by) {
  if (by === "input") return data.inputs.name.map((_, n) => inputPath(n));
  if (by === "host") return data.jobs.machines.map((machine) => machine.host);
  if (by === "gpu") return data.jobs.machines.flatMap((machine) => machine.gpus.map((gpu) => gpu.uuid));
  return by === "commit" ? data.jobs.commits.map((commit) => commit[0]) : [];
}

/** Whether a set of jobs (place 0 of a reach) or of inputs (place 1) holds something, as a function of the reach; each set is looked at once. */
function holds(by, what) {
  const wanted = what.toLowerCase();
  const ofJob = {
    host: (row) => machineOf(row).host.toLowerCase() === wanted,
    gpu: (row) => machineOf(row).gpus.some((gpu) => gpu.uuid.toLowerCase().includes(wanted.replace(/^gpu-/, ""))),
    commit: (row) => (commitOf(row)?.[0] ?? "").startsWith(wanted),
  }[by];
  const place = by === "input" ? 1 : 0;
  const whole = new Set(offered("input"));
  const test = by === "input"
    ? (n) => (whole.has(what) ? inputPath(n) === what : inputPath(n).toLowerCase().includes(wanted) || (wanted.length >= 8 && sha256(data.inputs.sha256[n]).startsWith(wanted)))
    : (n) => ofJob(job(n));
  const good = new Map();
  const known = new Map();
  const member = (n) => { if (!known.has(n)) known.set(n, test(n)); return known.get(n); };
  return (reach) => {
    const set = reach[place];
    if (set === undefined) return false;
    if (!good.has(set)) good.set(set, expanded(data.sets[set]).some(member));
    return good.get(set);
  };
}

function isChosen(subject, kinds, touched) {
  const cell = subject.cell;
  if (kinds.length && !(cell && kinds.includes(cell.k))) return false;
  if (controls.stale.checked && !(cell ? cell.st : subject.figure.stale)) return false;
  return !touched || subject.touching.some(touched);
}

function choose() {
  const kinds = controls.kind.value.split(" ").filter(Boolean);
  const by = controls.by.value, what = controls.what.value.trim();
  const isOn = Boolean(kinds.length || controls.stale.checked || (by && what));
  const touched = by && what ? holds(by, what) : null;
  chosen = buttons.filter((button) => isChosen(subjects.get(button), kinds, touched));
  const some = new Set(chosen);
  for (const button of buttons) (button.closest("td") ?? button).classList.toggle("apart", isOn && !some.has(button));
  for (const section of document.querySelectorAll("section.result")) {
    const own = section.querySelectorAll("button.n");
    if (!own.length) continue;
    const isEmpty = isOn && ![...own].some((button) => some.has(button));
    section.hidden = isEmpty;
    contents.get(section.id)?.classList.toggle("apart", isEmpty);
  }
  document.getElementById("stale-chip")?.setAttribute("aria-pressed", String(controls.stale.checked));
  for (const chip of document.querySelectorAll(".chip[data-kind]")) chip.setAttribute("aria-pressed", String(chip.dataset.kind === controls.kind.value));
  const numbers = chosen.filter((button) => button.dataset.c !== undefined).length;
  const figures = chosen.length - numbers;
  controls.found.textContent = isOn ? `${counted(numbers, "cell")} and ${counted(figures, "figure")} of ${buttons.length.toLocaleString("en")} results` : `${counted(numbers, "cell")}, ${counted(figures, "figure")}`;
  controls.next.disabled = !isOn || !chosen.length;
  controls.clear.disabled = !isOn;
}

function offer() {
  const by = controls.by.value;
  controls.what.value = "";
  controls.what.disabled = !by;
  controls.what.placeholder = { input: "part of a path, or a sha256", host: "name", gpu: "UUID", commit: "commit" }[by] ?? "choose what first";
  const known = [...new Set(offered(by))];
  controls.known.replaceChildren(...known.slice(0, 2000).map((value) => h("option", { value })));
  if (known.length === 1) controls.what.value = known[0];
  choose();
}

/** On to the next chosen result after the one that has the focus or is open. */
function next() {
  const here = document.querySelector('button.n[aria-expanded="true"]') ?? document.activeElement;
  const after = chosen.find((button) => here.compareDocumentPosition(button) & Node.DOCUMENT_POSITION_FOLLOWING);
  const target = buttons.includes(here) ? after ?? chosen[0] : chosen[0];
  open(target, { focus: false });
  target.scrollIntoView({ block: "center" });
}
