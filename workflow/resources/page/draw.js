// One small drawing: each replica's or seed's value, their mean, the interval, and what was printed.

function drawing(values, cell, scale) {
  const points = values.map((value) => value * scale);
  const named = [...points, cell.v, cell.lo, cell.hi, cell.p].filter((value) => Number.isFinite(value));
  const low = Math.min(...named), high = Math.max(...named);
  const pad = (high - low || Math.abs(high) || 1) * 0.08;
  const x = (value) => 12 + (396 * (value - low + pad)) / (high - low + 2 * pad);
  const tick = (value, kind, y1, y2) => svg("line", { class: kind, x1: x(value), x2: x(value), y1, y2 });
  const label = (value, words, y, kind) => {
    const at = x(value);
    return svg("text", { class: kind, x: at, y, "text-anchor": at < 60 ? "start" : at > 360 ? "end" : "middle" }, words);
  };
  const parts = [svg("line", { class: "axis", x1: 4, x2: 416, y1: 40, y2: 40 })];
  if (cell.lo !== undefined && cell.hi !== undefined) parts.push(svg("rect", { class: "interval", x: x(cell.lo), width: Math.max(1, x(cell.hi) - x(cell.lo)), y: 33, height: 14, rx: 3 }));
  for (const value of points) parts.push(svg("circle", { class: "dot", cx: x(value), cy: 40, r: 4 }));
  parts.push(tick(cell.v, "mean", 27, 53), label(cell.v, "ours", 21, "mean-label"));
  if (cell.p !== undefined) parts.push(tick(cell.p, "printed", 27, 53), label(cell.p, "print", 66, "printed-label"));
  const shown = (value) => rounded(value, cell.d);
  const words = `${counted(points.length, "value")} from ${shown(Math.min(...points))} to ${shown(Math.max(...points))}, mean ${shown(cell.v)}` +
    (cell.p === undefined ? "" : `, printed ${shown(cell.p)}`);
  return svg("svg", { class: "strip", viewBox: `0 0 420 ${cell.p === undefined ? 56 : 72}`, role: "img", "aria-label": words }, ...parts);
}
