// Losses by epoch, and predictions beside labels, from one character per point (utopia/report/curves.py).

const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** The path of a curve in a box; blanks are gaps. */
function pathOf(words, width, height) {
  let made = "", isDrawn = false;
  [...words].forEach((letter, n) => {
    const level = LEVELS.indexOf(letter);
    const x = (width * n) / Math.max(1, words.length - 1), y = height - (height * level) / 63;
    if (level >= 0) made += `${isDrawn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDrawn = level >= 0;
  });
  return made;
}

function small(title, curves, marked, words) {
  const lines = curves.filter(([, letters]) => letters).map(([kind, letters]) => svg("path", { class: kind, d: pathOf(letters, 180, 56) }));
  const mark = marked === null ? [] : [svg("line", { class: "chosen", x1: 180 * marked, x2: 180 * marked, y1: 0, y2: 56 })];
  return h("figure", { class: "small" }, svg("svg", { viewBox: "-2 -2 184 60", role: "img", "aria-label": words }, ...mark, ...lines), h("figcaption", {}, title));
}

/** Training and validation loss of each replica, with the epoch that was chosen. */
function lossesPart(run, { column }) {
  const kept = run[RUN.losses][column[3]], trained = run[RUN.trained][column[3]];
  if (!kept || !kept[2].some(([training]) => training)) return null;
  const [training, validation, curves] = kept;
  const [places, , epochs, selected] = trained;
  const draw = ([of, other], n) => {
    const [fold, repeat, member] = data.values[places][n], last = data.values[epochs][n];
    const chosen = selected[n] === null ? null : (selected[n] - 1) / Math.max(1, last - 1);
    const title = `fold ${fold}, repeat ${repeat}${member ? `, member ${member}` : ""}: epoch ${selected[n] ?? "–"} of ${last}`;
    return small(title, [["training", of], ["validation", other]], chosen, `losses by epoch, ${title}`);
  };
  const ends = ([low, high]) => `${short(low)} to ${short(high)}`;
  return folded("Losses by epoch, and the epoch that was chosen", String(curves.length), () => [
    h("p", { class: "soft key-line" }, h("span", { class: "training" }, "training loss"), ` (${ends(training)})`, validation[1] ? [", ", h("span", { class: "validation" }, "validation loss"), ` (${ends(validation)}), each on a scale of its own`] : null, "; ", h("span", { class: "chosen" }, "dotted"), ": the chosen epoch"),
    gallery(curves, draw),
  ]);
}

/** The mean prediction of each test video beside its labels. */
function videosPart(run, { column }) {
  const own = run[RUN.videos][column[3]], truth = data.videos[`${run[RUN.id].split(".")[0]} ${column[3]}`];
  if (!own || !own.length) return null;
  const [low, high, items, labels, seconds] = truth;
  return folded("Predictions and labels of each test video", String(own.length), () => [
    h("p", { class: "soft key-line" }, h("span", { class: "label-curve" }, "label"), ", ", h("span", { class: "prediction" }, "mean prediction"), ` over folds and repeats, from ${short(low)} to ${short(high)}; what lies beyond is at the edge`),
    gallery(own, ([n, curve]) => small(`${items[n]} (${duration(seconds[n])})`, [["label-curve", labels[n]], ["prediction", curve]], null, `labels and mean predictions of ${items[n]}`)),
  ]);
}

function gallery(entries, draw, most = 24) {
  const made = h("div", { class: "gallery" }, entries.slice(0, most).map(draw));
  if (entries.length <= most) return made;
  const more = h("button", { type: "button", class: "more", onclick: () => { made.append(...entries.slice(most).map((entry, n) => draw(entry, n + most))); more.remove(); } }, `Show ${entries.length - most} more`);
  return [made, more];
}
