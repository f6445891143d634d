// The ancestry that is in the page, and how its short forms are read. Layouts: utopia/report/ancestry.py.

const data = await unpacked(document.getElementById("ancestry").textContent);
const JOB = { name: 0, machine: 1, commit: 2, software: 3, lock: 4, modules: 5, started: 6, seconds: 7, memory: 8, made: 9, beside: 10, command: 11, stale: 12, settings: 13, log: 14 };
const RUN = { id: 0, jobs: 1, inputs: 2, settings: 3, trained: 4, values: 5, losses: 6, videos: 7 };

/** JSON that is compressed and in base64. */
async function unpacked(words) {
  const stream = new Blob([Uint8Array.from(atob(words), (letter) => letter.charCodeAt(0))]).stream();
  return JSON.parse(await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text());
}

/** The text with a number; nothing where there is none. */
const text = (number) => (number === undefined || number === null ? "" : data.texts[number]);

/** The numbers in a list of ranges. */
function expanded(ranges) {
  const found = [];
  for (const [first, last] of ranges) for (let n = first; n <= last; n++) found.push(n);
  return found;
}

const inFolder = (folder, name) => (data.folders[folder] ? `${data.folders[folder]}/${name}` : name);
const inputPath = (n) => inFolder(data.inputs.folder[n], data.inputs.name[n]);
/** The 64 digits of a sha256, which the data hold in base64. */
function sha256(short) {
  if (short.length !== 43) return short;
  return [...atob(short)].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

const job = (n) => data.jobs.rows[n];
const machineOf = (row) => data.jobs.machines[row[JOB.machine]];
const commitOf = (row) => (row[JOB.commit] < 0 ? null : data.jobs.commits[row[JOB.commit]]);
const lockOf = (row) => (row[JOB.lock] < 0 ? null : data.jobs.locks[row[JOB.lock]]);

function commandOf(row) {
  const [start, withTarget] = row[JOB.command];
  const [folder, name] = row[JOB.made][0] ?? [0, ""];
  return text(start) + (withTarget ? inFolder(folder, name) : "");
}

/** What a button stands for: a cell of a table, or a figure. */
function subjectOf(button) {
  if (button.dataset.f !== undefined) {
    const figure = data.figures[Number(button.dataset.f)];
    const runs = figure.runs.map((id) => data.runs.find((run) => run[RUN.id] === id)).filter(Boolean);
    return { kind: "figure", id: figure.id, figure, runs, runIds: figure.runs, jobSets: [figure.reach[0]], inputSets: [figure.reach[1]], touching: [figure.reach] };
  }
  const [t, c] = button.dataset.c.split(".").map(Number);
  const table = data.tables[t];
  const cell = table.cells[c];
  const row = table.rows[Math.floor(c / table.columns.length)];
  const column = table.columns[c % table.columns.length];
  const runs = (cell.ru ?? []).map((n) => data.runs[n]);
  const others = (cell.ag ?? []).map((n) => data.runs[n]);
  const measured = cell.v !== undefined;
  return {
    kind: "cell", id: `${table.id}/${row[0]}/${column[0]}`, table, cell, row, column, runs, runIds: runs.map((run) => run[RUN.id]),
    jobSets: measured ? [table.jobs, ...runs.map((run) => run[RUN.jobs])] : [],
    inputSets: runs.map((run) => run[RUN.inputs]),
    // A difference to another row touches a number too.
    touching: cell.k === "quoted" ? [] : [[table.jobs], ...[...runs, ...others].map((run) => [run[RUN.jobs], run[RUN.inputs]])],
  };
}

/** The members of several sets, each once, in order. */
function union(sets) {
  const found = new Set();
  for (const set of new Set(sets)) for (const n of expanded(data.sets[set])) found.add(n);
  return [...found].sort((a, b) => a - b);
}

// -- numbers and texts for people

const minus = (words) => words.replaceAll("-", "−");

/** A number with so many decimals as Python prints it: half to even on the binary value, and never "-0". */
function rounded(value, decimals) {
  let shown = value.toFixed(decimals);
  const exact = value.toFixed(Math.min(100, decimals + 60));
  const rest = exact.slice(exact.indexOf(".") + 1 + decimals);
  // toFixed takes the larger neighbour of a tie.
  if (/^50*$/.test(rest)) {
    const below = exact.slice(0, exact.indexOf(".") + (decimals ? 1 + decimals : 0));
    if (Number(below.at(-1)) % 2 === 0) shown = below;
  }
  return minus(Number(shown) === 0 ? shown.replace("-", "") : shown);
}

function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit++; }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 100) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const counted = (n, word, words = `${word}s`) => `${n.toLocaleString("en")} ${n === 1 ? word : words}`;

/** An element: h("a", {href: "#x"}, "text", other). Texts are texts, never markup. */
function h(name, attributes, ...inside) {
  const made = document.createElement(name);
  fill(made, attributes, inside);
  return made;
}

function svg(name, attributes, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(made, attributes, inside);
  return made;
}

function fill(made, attributes, inside) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== ""));
}
