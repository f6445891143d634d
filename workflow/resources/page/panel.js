// The ancestry of one result: the facts that matter, and behind each what it rests on, made when it is opened.

const KIND_WORDS = {
  same: "rounds to the published value", inside: "published value inside our interval", outside: "published value outside our interval",
  unclear: "gain not distinguishable from none", holds: "what the text says holds of our numbers", fails: "what the text says does not hold of our numbers", apart: "not comparable with the published value", unpublished: "not in the paper",
};
const MARKS = { same: "=", inside: "≈", outside: "≠", unclear: "○", holds: "✓", fails: "✗" };

/** A part that is written only when somebody opens it. */
function folded(title, count, write) {
  const inside = h("div", { class: "fold" });
  const made = h("details", {}, h("summary", {}, h("span", {}, title), count ? h("span", { class: "count" }, count) : null), inside);
  made.addEventListener("toggle", () => { if (made.open && !inside.hasChildNodes()) inside.append(...[write()].flat(Infinity).filter(Boolean)); });
  return made;
}

const fact = (name, ...words) => h("div", {}, h("dt", {}, name), h("dd", {}, ...words));
const code = (words) => h("code", {}, words);
const digits = (sha) => h("code", { class: "sha" }, sha || "no sha256");

function columns(heads, rows, words = 1) {
  const cell = (value, place) => h("td", place < words ? { class: "word" } : {}, value);
  return h("div", { class: "wide", role: "region", tabindex: 0, "aria-label": heads.join(", ") }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, heads.map((head, place) => h("th", { scope: "col", class: place < words ? "word" : null }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

function copied(command) {
  const button = h("button", { type: "button", class: "copy", onclick: () => {
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    const select = () => { getSelection().selectAllChildren(shown); button.textContent = "Selected"; };
    if (navigator.clipboard) navigator.clipboard.writeText(command).then(done, select); else select();
  } }, "Copy");
  const shown = code(command);
  return h("div", { class: "command" }, h("pre", {}, shown), button);
}

/** Shows at first `most` of the entries of a list, and the rest when asked. */
function long(entries, write, most = 40) {
  const list = h("ul", { class: "plainlist" }, entries.slice(0, most).map(write));
  if (entries.length <= most) return list;
  const more = h("button", { type: "button", class: "more", onclick: () => {
    const first = list.children.length;
    list.append(...entries.slice(first, first + 1000).map(write));
    if (list.children.length >= entries.length) more.remove(); else more.textContent = left();
    const next = list.children[first];
    next.tabIndex = -1;
    next.focus();
  } }, "");
  const left = () => `Show ${Math.min(1000, entries.length - list.children.length).toLocaleString("en")} more of ${entries.length.toLocaleString("en")}`;
  more.textContent = left();
  return [list, more];
}

// -- a number

function headOfCell(subject) {
  const { cell, table } = subject;
  const shown = (value) => rounded(value, cell.d);
  if (cell.k === "quoted") return [h("p", { class: "big" }, shown(cell.p)), h("p", { class: "why" }, `Quoted from ${table.source}. It was not measured here, so it has no ancestry.`)];
  const print = cell.p === undefined ? null : h("p", { class: "beside" }, "Published: ", h("b", {}, shown(cell.p)));
  if (cell.v === undefined) return [h("p", { class: "big" }, "—"), h("p", { class: "why" }, h("b", {}, "Absent: "), text(cell.r) || "no reason recorded"), print];
  // Where all repeats give the same there is nothing to show.
  const spread = cell.sd === undefined || cell.sd <= 1e-12 * (1 + Math.abs(cell.v)) ? null : h("span", { class: "sd" }, ` ± ${shown(cell.sd)}`);
  const unit = subject.runs.length > 1 ? "values" : "replicas";
  const values = valuesOf(subject);
  return [
    h("p", { class: "big" }, shown(cell.v), cell.u ? ` ${cell.u}` : "", spread),
    h("p", { class: "soft" }, cell.u ? `comparisons of means over ${counted(cell.n, "seed")}` : `mean and standard deviation over ${counted(cell.n, "seed")}; in full ${minus(String(cell.v))}`),
    print,
    h("p", { class: "badge", "data-k": cell.k }, MARKS[cell.k] ? h("span", { "aria-hidden": "true" }, `${MARKS[cell.k]} `) : null,
      cell.k === "outside" || cell.k === "unclear" ? cell.ve : KIND_WORDS[cell.k], cell.vr === undefined ? null : h("span", { class: "ground" }, ` (${text(cell.vr)})`)),
    values.length ? h("figure", { class: "stripbox" }, drawing(values, cell), h("figcaption", {}, `Dots: ${unit}, each over all test items. Bar: 95 % interval of their mean, over test items and seeds: test items differ as well, so the bar may be much wider than the dots.`)) : null,
  ];
}

/** The values of the replicas of a number's only run; none of a derived number, which has no such values. */
function valuesOf({ runs, column }) {
  return runs.length === 1 ? runs[0][RUN.values][`${column[3]} ${column[4]}`]?.[1] ?? [] : [];
}

const short = (value) => minus(String(Number(value.toPrecision(7))));

function replicasOf(run, { column }) {
  const [keys, values] = run[RUN.values][`${column[3]} ${column[4]}`] ?? [null, []];
  const trained = run[RUN.trained][column[3]];
  const own = new Map((keys === null ? [] : data.values[keys]).map(([fold, repeat], n) => [`${fold} ${repeat}`, values[n]]));
  if (!trained) return [...own].map(([key, value]) => [...key.split(" "), short(value), "", "", ""]);
  const [places, seeds, epochs, selected, checkpoints] = trained;
  return data.values[places].map(([fold, repeat, member], n) => [
    fold, member ? `${repeat}, member ${member}` : repeat, own.has(`${fold} ${repeat}`) ? short(own.get(`${fold} ${repeat}`)) : "",
    `${selected[n] ?? "–"} of ${data.values[epochs][n]}`, data.values[seeds][n], code(checkpoints[n]),
  ]);
}

function difference({ cell }) {
  const [against, value, low, high, verdict] = cell.df;
  const ends = low === null ? "" : ` [${rounded(low, cell.d + 1)}, ${rounded(high, cell.d + 1)}]`;
  return fact("Difference", `${rounded(value, cell.d + 1)}${ends} to `, code(against), verdict ? `: ${verdict}` : "");
}

// -- what all results have

function facts(subject, jobs, inputs) {
  const rows = jobs.map(job);
  const found = [];
  const cell = subject.cell;
  if (subject.runIds.length) {
    const replicas = subject.runs.length && cell ? subject.runs.reduce((sum, run) => sum + replicasOf(run, subject).length, 0) : 0;
    found.push(fact("Runs", subject.runIds.map((id, n) => [n ? ", " : "", code(id)]), replicas ? ` – ${counted(replicas, "replica")}` : ""));
  }
  const seeds = cell ? subject.runs.map((run) => run[RUN.trained][subject.column[3]]).filter(Boolean).flatMap((own) => data.values[own[1]]) : [];
  if (seeds.length) {
    const unique = [...new Set(seeds)];
    found.push(fact("Seeds", unique.slice(0, 2).map((seed, n) => [n ? ", " : "", code(seed)]), unique.length > 2 ? ` and ${unique.length - 2} more` : ""));
  }
  if (cell?.df) found.push(difference(subject));
  const size = inputs.reduce((sum, n) => sum + (data.inputs.bytes[n] ?? 0), 0);
  const sets = [...new Set(inputs.map((n) => data.inputs.origins[data.inputs.origin[n]][0]))].filter(Boolean);
  found.push(fact("Inputs", `${counted(inputs.length, "file")}, ${bytes(size)}${sets.length ? ` of ${sets.join(", ")}` : ""}`));
  const commits = [...new Set(rows.map((row) => row[JOB.commit]))].map((n) => (n < 0 ? null : data.jobs.commits[n]));
  found.push(fact("Commit", commits.map((commit, n) => [n ? ", " : "", commit ? [code(commit[0].slice(0, 12)), commit[1] ? ` with ${counted(commit[2].length, "changed file")}` : ""] : "not recorded"])));
  found.push(fact("Hardware", hardware(rows).map(([words, count], n) => [n ? h("br") : "", hardware(rows).length > 1 ? `${words} (${counted(count, "job")})` : words])));
  found.push(fact("Made by", `${counted(jobs.length, "job")}, ${duration(rows.reduce((sum, row) => sum + row[JOB.seconds], 0))} of work`));
  return h("dl", { class: "facts" }, found);
}

function hardware(rows) {
  const found = new Map();
  for (const row of rows) {
    const { host, cpu, gpus } = machineOf(row);
    const words = [`${host}: ${cpu.model ?? "CPU not recorded"}${cpu.cores ? `, ${cpu.cores} cores` : ""}`, ...gpus.map((gpu) => `${gpu.name} ${gpu.uuid} (driver ${gpu.driver})`)];
    const key = words.join("; ");
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return [...found];
}

function again(subject, rows) {
  const trains = rows.some((row) => text(row[JOB.name]).startsWith("train_"));
  const last = subject.kind === "figure" ? job(subject.figure.job) : rows[rows.length - 1];
  const command = subject.cell && trains ? `utopia verify --study ${data.study} --retrain ${quoted(subject.id)}` : commandOf(last);
  return h("div", {}, h("h3", {}, "To make just this again"), copied(command), h("p", { class: "soft" }, "More: ", code(`utopia explain --study ${data.study} ${quoted(subject.id)} --full`)));
}

const quoted = (words) => (/^[\w@%+=:,./-]+$/.test(words) ? words : `'${words.replaceAll("'", `'"'"'`)}'`);

function inputsPart(inputs) {
  const groups = new Map();
  for (const n of inputs) groups.set(data.inputs.origin[n], [...(groups.get(data.inputs.origin[n]) ?? []), n]);
  return [...groups].map(([place, own]) => {
    const [dataset, licence, source] = data.inputs.origins[place];
    return [h("h4", {}, dataset || "no data set", h("span", { class: "soft" }, ` ${counted(own.length, "file")}`)),
      h("p", { class: "soft" }, `Source: ${source || "not stated"}. Licence: ${licence}.`),
      long(own, (n) => h("li", {}, h("span", { class: "path" }, inputPath(n)), " ", h("span", { class: "soft" }, bytes(data.inputs.bytes[n] ?? 0)), digits(sha256(data.inputs.sha256[n]))))];
  });
}

function jobPart(n, runIds) {
  const row = job(n);
  const machine = machineOf(row), commit = commitOf(row), lock = lockOf(row);
  const start = `${data.root}/runs/`;
  // A job that treats several runs at once made files of others too.
  const mine = row[JOB.made].filter(([folder]) => !runIds.length || !data.folders[folder].startsWith(start) || runIds.some((id) => data.folders[folder].startsWith(start + id)));
  const others = row[JOB.made].length - mine.length;
  const [beside, size] = row[JOB.beside];
  return folded(text(row[JOB.name]), row[JOB.stale].length ? "stale" : duration(row[JOB.seconds]), () => [
    row[JOB.stale].length ? h("ul", { class: "alarm" }, row[JOB.stale].map((why) => h("li", {}, text(why)))) : null,
    long(mine, ([folder, name, sha, length]) => h("li", {}, h("span", { class: "path" }, inFolder(folder, name)), " ", h("span", { class: "soft" }, length === null ? "" : bytes(length)), digits(sha256(sha)))),
    others ? h("p", { class: "soft" }, `and ${counted(others, "file")} of other runs`) : null,
    beside ? h("p", { class: "soft" }, `and beside them ${counted(beside, "file")} (checkpoints, stored features), ${bytes(size)}; its record lists them`) : null,
    h("dl", { class: "facts" },
      fact("Started", `${row[JOB.started].replace("T", " ")} UTC, ${row[JOB.seconds]} s${row[JOB.memory] ? `, ${bytes(row[JOB.memory])} of memory` : ""}`),
      fact("Machine", hardware([row])[0][0], machine.deterministic ? "; torch deterministic" : ""),
      commit ? fact("Commit", code(commit[0]), commit[1] ? ` with changed files: ${commit[2].join(", ")}` : "") : null,
      lock ? fact("Lock file", lock[0], digits(lock[1])) : null),
    row[JOB.log] === -1 ? null : h("p", { class: "soft" }, "What it said: ", logOf(row[JOB.log])),
    copied(commandOf(row)),
    row[JOB.settings] < 0 ? null : folded("Settings", "", () => h("pre", {}, JSON.stringify(data.values[row[JOB.settings]], null, 1))),
  ]);
}

/** A link to a job's log; the page lies in a folder of the study. */
function logOf([folder, name]) {
  const path = inFolder(folder, name);
  return path.startsWith(`${data.root}/`) ? h("a", { href: `../${path.slice(data.root.length + 1).split("/").map(encodeURIComponent).join("/")}` }, path) : code(path);
}

/** A job's rule, without the name of its batch of runs. */
function ruleOf(n) {
  const name = text(job(n)[JOB.name]).split(" ")[0];
  if (name.startsWith("train_")) return "train";
  return name.startsWith("evaluate_") && name !== "evaluate_reference" ? "evaluate" : name;
}

/** Jobs from the result back to the raw files; those of one rule stand together. */
function jobsPart(jobs, runIds) {
  const groups = new Map();
  for (const n of [...jobs].reverse()) {
    const rule = ruleOf(n);
    groups.set(rule, [...(groups.get(rule) ?? []), n]);
  }
  return h("ol", { class: "steps" }, [...groups].map(([rule, own]) => h("li", {},
    own.length === 1 ? jobPart(own[0], runIds)
      : folded(rule, counted(own.length, "job"), () => long(own, (n) => h("li", {}, jobPart(n, runIds)), 30)))));
}

function settingsPart(runs) {
  return runs.map((run) => [h("h4", {}, run[RUN.id]), h("pre", {}, JSON.stringify(Object.fromEntries(Object.entries(run[RUN.settings]).map(([name, n]) => [name, data.values[n]])), null, 1))]);
}

function codePart(rows) {
  const modules = new Map();
  for (const closure of new Set(rows.map((row) => row[JOB.modules]))) for (const n of expanded(data.jobs.closures[closure])) modules.set(data.jobs.modules[n].join(" "), data.jobs.modules[n]);
  const own = [...modules.values()].sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const locks = [...new Set(rows.map((row) => row[JOB.lock]))].filter((n) => n >= 0).map((n) => data.jobs.locks[n]);
  const versions = new Map();
  for (const n of new Set(rows.map((row) => row[JOB.software]))) for (const [name, version] of Object.entries(data.jobs.software[n])) versions.set(name, new Set([...(versions.get(name) ?? []), version]));
  return [
    locks.map(([path, sha]) => h("p", {}, "Lock file ", h("span", { class: "path" }, path), digits(sha))),
    folded("Modules, with the sha256 of their code", String(own.length), () => h("ul", { class: "plainlist" }, own.map(([name, sha]) => h("li", {}, h("span", { class: "path" }, name), digits(sha))))),
    folded("Versions", String(versions.size), () => columns(["package", "version"], [...versions].sort().map(([name, all]) => [name, [...all].join(" / ")]), 2)),
  ];
}

/** What diagnostics are, in words; those of other models have their names. docs/rmn.md says more. */
const MEASURED = {
  choices: "choices (the memory was full)",
  writes: "share of choices that replaced a row",
  entropy: "entropy of the choices, 1 at most",
  distinctness: "distance between rows, by their norm",
  age_steps: "mean age of what is read, in labels",
  query: "change of attention due to the query",
  td_error: "temporal-difference error, in rewards",
};

/** What the models of a run's replicas measured of themselves (the use of a memory); null where they measure nothing. */
function diagnosticsPart(run, { column }) {
  const trained = run[RUN.trained][column[3]];
  if (!trained || trained[5] === undefined) return null;
  const places = data.values[trained[0]], names = data.values[trained[5]];
  const shown = (value) => (value === null ? "–" : short(Number(value.toPrecision(3))));
  const over = names.map((name, n) => {
    const met = trained[6].map((values) => values[n]).filter((value) => value !== null);
    const numbers = met.length ? [met.reduce((sum, value) => sum + value, 0) / met.length, Math.min(...met), Math.max(...met)] : [null, null, null];
    return [h("span", { class: "label" }, MEASURED[name] ?? name), ...numbers.map(shown)];
  });
  return folded("How the model used its parts, on the test items", String(places.length), () => [
    columns(["over the replicas", "mean", "least", "most"], over),
    folded("Of each replica", String(places.length), () => columns(["fold", "repeat", ...names], trained[6].map((values, n) => [places[n][0], places[n][1], ...values.map(shown)]), 2)),
  ]);
}

/** The panel's whole content for a subject. */
function ancestry(subject) {
  const cell = subject.cell;
  const head = cell ? headOfCell(subject) : [];
  const jobs = union(subject.jobSets), inputs = union(subject.inputSets);
  if (!jobs.length) return head;
  const rows = jobs.map(job);
  const stale = jobs.filter((n) => job(n)[JOB.stale].length);
  return [
    head,
    stale.length ? h("div", { class: "alarm", role: "note" }, folded(`Stale: ${counted(stale.length, "job")} behind it would not be the same today`, "",
      () => long(stale, (n) => h("li", {}, h("b", {}, text(job(n)[JOB.name])), `: ${job(n)[JOB.stale].map(text).join("; ")}`)))) : null,
    facts(subject, jobs, inputs),
    again(subject, rows),
    h("h3", {}, "What it rests on"),
    cell && subject.runs.length ? subject.runs.map((run) => folded(subject.runs.length > 1 ? `Replicas of ${run[RUN.id]}` : "Replicas", String(replicasOf(run, subject).length),
      () => columns(["fold", "repeat", `${subject.column[3]} ${subject.column[4]}`, "epoch", "seed", "checkpoint"], replicasOf(run, subject), 2))) : null,
    cell ? subject.runs.map((run) => [lossesPart(run, subject), videosPart(run, subject), diagnosticsPart(run, subject)]) : null,
    folded("Input files", String(inputs.length), () => inputsPart(inputs)),
    folded("Its ancestry as a picture", counted(new Set(jobs.map(ruleOf)).size, "rule"), () => graphOf(jobs)),
    folded("Steps, from here to the raw files", counted(jobs.length, "job"), () => jobsPart(jobs, subject.runIds)),
    subject.runs.length ? folded("Settings of the runs", "", () => settingsPart(subject.runs)) : null,
    folded("Code and software", "", () => codePart(rows)),
    cell?.i !== undefined ? h("p", { class: "soft" }, `Interval: ${cell.lo === undefined ? "none: " : ""}${text(cell.i)}`) : null,
    cell?.no !== undefined ? h("p", { class: "soft" }, `Note: ${text(cell.no)}`) : null,
  ];
}
