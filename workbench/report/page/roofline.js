// Sections as dots under the roofs: arithmetic at peak, and each memory tier's bandwidth.
function rooflineView() {
  const { element, body, note } = panel("roofline", "Roofline", { side: "left" });
  const machine = facts.machine, hertz = machine.clock_ghz * 1e9, peak = machine.peak_flops_per_cycle * hertz;
  const groups = new Map();
  facts.sections.forEach((section, number) => {
    const key = section.execution;
    if (!groups.has(key)) groups.set(key, { first: number, sections: [], cycles: 0 });
    groups.get(key).sections.push(number);
    groups.get(key).cycles += section.cycles;
  });
  const dots = [...groups.values()].map((group) => {
    const execution = executionOf(group.first), moved = [...execution.read_bytes, ...execution.write_bytes].reduce((a, b) => a + b, 0);
    return { ...group, execution, moved, intensity: execution.flops / Math.max(1, moved), speed: (execution.flops / (execution.cycles || 1)) * hertz,
      bound: Object.keys(execution.path).reduce((a, b) => (execution.path[b] > (execution.path[a] ?? 0) ? b : a), "compute") };
  }).filter((dot) => dot.execution.flops > 0);
  note.textContent = `${count(dots.length, "dot")}, sized by share of the step; coloured by what binds while executing`;
  const width = widthOf(body), height = 420, left = 92, right = 16, top = 14, bottom = 38;
  const slowest = Math.min(peak / 1e4, ...dots.map((dot) => dot.speed)) / 2;
  const ridges = machine.tiers.map((tier) => peak / tier.bandwidth_bytes_per_s), intensities = dots.map((dot) => dot.intensity);
  const xs = [Math.min(0.1, ...intensities) / 1.5, Math.max(...ridges, ...intensities) * 4];
  const x = (value) => left + ((Math.log10(value) - Math.log10(xs[0])) / (Math.log10(xs[1]) - Math.log10(xs[0]))) * (width - left - right);
  const y = (value) => height - bottom - ((Math.log10(value) - Math.log10(slowest)) / (Math.log10(peak * 2) - Math.log10(slowest))) * (height - top - bottom);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "roofline of the sections" });
  const decades = (low, high) => Array.from({ length: Math.floor(Math.log10(high)) - Math.ceil(Math.log10(low)) + 1 }, (_, i) => 10 ** (Math.ceil(Math.log10(low)) + i));
  const tall = decades(slowest, peak * 2);
  for (const value of decades(...xs)) svg.append(s("line", { class: "grid", x1: x(value), x2: x(value), y1: top, y2: height - bottom, opacity: 0.6 }),
    s("text", { x: x(value), y: height - bottom + 15, "text-anchor": "middle" }, value >= 1000 ? `${value / 1000}k` : `${value}`));
  for (const value of tall.filter((_, i) => tall.length < 8 || i % 2 === 0)) svg.append(s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value), opacity: 0.6 }),
    s("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, metric(value, "FLOP/s")));
  svg.append(s("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "FLOPs per byte of device memory traffic"));
  machine.tiers.forEach((tier, number) => {
    const rate = tier.bandwidth_bytes_per_s, ridge = peak / rate;
    const from = Math.max(xs[0], slowest / rate);
    svg.append(s("line", { x1: x(from), y1: y(from * rate), x2: x(Math.min(ridge, xs[1])), y2: y(Math.min(peak, xs[1] * rate)), stroke: "var(--dram)", "stroke-width": 1.8, "stroke-dasharray": number ? "5 4" : null }));
    const at = ridge / 3;
    svg.append(s("text", { x: x(at) - 10, y: y(at * rate) - 4, "text-anchor": "end" }, `${tier.name} ${metric(rate, "B/s")}`));
  });
  const ridge = Math.max(xs[0], peak / Math.max(...machine.tiers.map((tier) => tier.bandwidth_bytes_per_s)));
  svg.append(s("line", { x1: x(Math.min(ridge, xs[1])), x2: width - right, y1: y(peak), y2: y(peak), stroke: "var(--compute)", "stroke-width": 1.8 }),
    s("text", { x: width - right, y: y(peak) - 6, "text-anchor": "end" }, `peak in bf16 ${metric(peak, "FLOP/s")}`));
  const labelled = [];
  const isFree = (at) => labelled.every((other) => Math.abs(other[0] - at[0]) > 90 || Math.abs(other[1] - at[1]) > 12);
  const marks = dots.sort((a, b) => b.cycles - a.cycles).map((dot) => {
    const part = dot.cycles / facts.verdict.cycles, name = facts.sections[dot.first].name;
    const mark = s("circle", { cx: x(dot.intensity), cy: y(dot.speed), r: 4 + 16 * Math.sqrt(part), fill: `var(--${dot.bound})`, "fill-opacity": 0.7, stroke: "var(--panel)", style: "cursor:pointer",
      tabindex: 0, "aria-label": name, onclick: () => select({ section: dot.first }), onkeydown: (e) => { if (e.key === "Enter") select({ section: dot.first }); } });
    hover(mark, `${name}${dot.sections.length > 1 ? ` and ${dot.sections.length - 1} like it` : ""}\n${metric(dot.speed, "FLOP/s")} at ${grouped(dot.intensity, 1)} FLOPs per byte\n` +
      `${share(part)} of the step; executing, mostly ${WORDS[dot.bound]}`);
    svg.append(mark);
    const beside = [x(dot.intensity) + 8 + 16 * Math.sqrt(part), y(dot.speed) + 4];
    if (part > 0.04 && isFree(beside)) {
      labelled.push(beside);
      svg.append(s("text", { x: beside[0], y: beside[1], "pointer-events": "none" }, name));
    }
    return { mark, dot };
  });
  body.append(svg);
  return {
    element,
    update({ section }) {
      for (const { mark, dot } of marks) {
        const own = dot.sections.includes(section);
        mark.setAttribute("stroke", own ? "var(--mark)" : "var(--panel)");
        mark.setAttribute("stroke-width", own ? 3 : 1);
      }
    },
  };
}
