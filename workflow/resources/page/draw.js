// One small drawing: each repeat's value, their mean with its interval in a row of its own, and what was published.

function drawing(values, cell) {
  const named = [...values, cell.v, cell.lo, cell.hi, cell.p].filter((value) => Number.isFinite(value));
  const low = Math.min(...named), high = Math.max(...named);
  const pad = (high - low || Math.abs(high) || 1) * 0.08;
  const x = (value) => 90 + (318 * (value - low + pad)) / (high - low + 2 * pad);
  const tick = (value, kind, y1, y2) => svg("line", { class: kind, x1: x(value), x2: x(value), y1, y2 });
  const row = (words, y, kind) => [svg("line", { class: "axis", x1: 90, x2: 416, y1: y, y2: y }), svg("text", { class: kind, x: 82, y: y + 4, "text-anchor": "end" }, words)];
  const hasInterval = cell.lo !== undefined && cell.hi !== undefined;
  const parts = [...row("repeats", 14), ...row("mean", 42, "mean-label")];
  for (const value of values) parts.push(svg("circle", { class: "dot", cx: x(value), cy: 14, r: 4 }));
  if (hasInterval) parts.push(svg("rect", { class: "interval", x: x(cell.lo), width: Math.max(1, x(cell.hi) - x(cell.lo)), y: 35, height: 14, rx: 3 }));
  parts.push(tick(cell.v, "mean", 32, 52));
  if (cell.p !== undefined) parts.push(...row("published", 70, "printed-label"), tick(cell.p, "printed", 32, 78));
  const shown = (value) => rounded(value, cell.d);
  const words = `${counted(values.length, "value")} from ${shown(Math.min(...values))} to ${shown(Math.max(...values))}, mean ${shown(cell.v)}` +
    (hasInterval ? `, interval ${shown(cell.lo)} to ${shown(cell.hi)}` : "") + (cell.p === undefined ? "" : `, published ${shown(cell.p)}`);
  return svg("svg", { class: "strip", viewBox: `0 0 420 ${cell.p === undefined ? 56 : 84}`, role: "img", "aria-label": words }, ...parts);
}

/** The rules behind a result and how files go from one to the next, in layers from the raw files on. */
function graphOf(jobs) {
  const counts = new Map();
  for (const n of jobs) counts.set(ruleOf(n), (counts.get(ruleOf(n)) ?? 0) + 1);
  const edges = data.edges.filter(([from, to]) => counts.has(to) && (counts.has(from) || from === "raw files"));
  const layer = new Map();
  const depth = (name, seen = new Set()) => {
    if (layer.has(name) || seen.has(name)) return layer.get(name) ?? 0;
    const before = edges.filter(([, to]) => to === name).map(([from]) => depth(from, new Set([...seen, name])) + 1);
    layer.set(name, Math.max(0, ...before));
    return layer.get(name);
  };
  for (const edge of edges) edge.forEach((name) => depth(name));
  const rows = [];
  for (const [name, at] of layer) (rows[at] ??= []).push(name);
  const place = new Map(rows.flatMap((names, y) => names.map((name, n) => [name, [(420 * (n + 0.5)) / names.length, 20 + 52 * y]])));
  const wide = (names) => Math.min(190, 412 / names.length - 6);
  // An edge that only shortens a longer way is left out: it says nothing more, and crosses the others.
  const reaches = (from, to, but) => edges.some(([a, b]) => a === from && b !== but && (b === to || reaches(b, to, null)));
  const lines = edges.filter(([from, to]) => !reaches(from, to, to)).map(([from, to]) => {
    const [x1, y1] = place.get(from), [x2, y2] = place.get(to);
    return svg("path", { class: "edge", d: `M${x1} ${y1 + 15}C${x1} ${y1 + 34} ${x2} ${y2 - 34} ${x2} ${y2 - 15}` });
  });
  const boxes = rows.flatMap((names) => names.map((name) => {
    const [x, y] = place.get(name), width = wide(names);
    const words = name === "raw files" ? name : `${name.replaceAll("_", " ")}${counts.get(name) > 1 ? ` × ${counts.get(name)}` : ""}`;
    return svg("g", {}, svg("rect", { class: "node", x: x - width / 2, y: y - 15, width, height: 30, rx: 5 }),
      svg("text", { x, y: y + 4, "text-anchor": "middle", textLength: words.length * 6.3 > width - 8 ? width - 8 : null, lengthAdjust: "spacingAndGlyphs" }, words));
  }));
  const told = rows.map((names) => names.join(", ")).join(", then ");
  return svg("svg", { class: "graph", viewBox: `0 0 420 ${52 * rows.length - 8}`, role: "img", "aria-label": `From the raw files to this result: ${told}` }, ...lines, ...boxes);
}
