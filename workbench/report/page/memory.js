// On chip over time, device memory traffic over time and by tensor, and the plan of device memory.
const KINDS = { PARAMETER: 0, BUFFER: 3, CONSTANT: 6, INPUT: 4, ACTIVATION: 2, OUTPUT: 5, GRADIENT: 1, STATE: 7, HYPER: 8, OUTPUT_GRADIENT: 9 };
const KIND_COLOURS = [...PALETTE, "#7a5a3a", "#898e93"];
const kindName = (kind) => kind.toLowerCase().replaceAll("_", " ");
const kindColour = (kind) => KIND_COLOURS[KINDS[kind.toUpperCase()] ?? 6];

function occupancyView() {
  const { element, body, note } = panel("occupancy", "Memory over time", { side: "right" });
  const draw = (section) => {
    const execution = executionOf(section), machine = facts.machine, width = widthOf(body), left = 66, right = 12;
    const capacity = machine.pmus * machine.pmu_bytes, end = execution.cycles || 1;
    const x = (cycles) => left + (cycles / end) * (width - left - right);
    const changes = execution.buffers.flatMap((b) => [[b.begin, b.bytes], [b.end, -b.bytes]]).sort((a, b) => a[0] - b[0]);
    let held = 0;
    const points = [[0, 0]];
    for (const [at, change] of changes) { points.push([at, held]); held += change; points.push([at, held]); }
    points.push([end, held]);
    const most = Math.max(...points.map((p) => p[1]), 1);
    const svg = s("svg", { viewBox: `0 0 ${width} 320`, role: "img", "aria-label": "PMU bytes in use and device memory rates over the section" });
    const chart = (top, height, highest, label, format, marks) => {
      const y = (value) => top + height - (value / highest) * height;
      for (const value of marks(highest, 3)) svg.append(s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value), opacity: 0.7 }),
        s("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
      svg.append(s("text", { x: left, y: top - 6 }, label));
      return y;
    };
    const y = chart(20, 110, most * 1.1, `PMU bytes in use, at most ${bytes(most)}: ${share(most / capacity)} of ${bytes(capacity)}`, bytes, byteTicks);
    svg.append(s("path", { d: `M${points.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}L${x(end)} ${y(0)}L${x(0)} ${y(0)}Z`, fill: "var(--network)", "fill-opacity": 0.28, stroke: "var(--network)" }));
    const chosen = selectedBuffers();
    execution.buffers.forEach((buffer, number) => {
      if (!chosen.has(number)) return;
      svg.append(s("rect", { x: x(buffer.begin), width: Math.max(1, x(buffer.end) - x(buffer.begin)), y: y(buffer.bytes), height: y(0) - y(buffer.bytes), fill: "var(--accent)", "fill-opacity": 0.45 }));
    });
    const tiers = machine.tiers.length, hertz = machine.clock_ghz * 1e9, fastest = Math.max(...machine.tier_bytes_per_cycle) * hertz;
    const z = chart(168, 110, fastest * 1.08, `device memory, ${machine.tiers.map((t) => `${t.name} at most ${metric(t.bandwidth_bytes_per_s, "B/s")}`).join(", ")}`, (v) => metric(v, "B/s"), (high, wanted) => ticks(0, high, wanted));
    const rate = (way) => execution.traffic.map((row) => [row[0], row.slice(1 + way * tiers, 1 + (way + 1) * tiers).reduce((a, b) => a + b, 0) * hertz]);
    const reads = rate(0), writes = rate(1), both = reads.map(([at, value], i) => [at, value + writes[i][1]]);
    const span = execution.traffic.length ? end / execution.traffic.length : end;
    const area = (rows, name) => { if (rows.length) svg.append(s("path", { d: `M${x(0)} ${z(0)}${rows.map(([at, v]) => `L${x(at).toFixed(1)} ${z(v).toFixed(1)}L${x(at + span).toFixed(1)} ${z(v).toFixed(1)}`).join("")}L${x(end)} ${z(0)}Z`, fill: `var(--${name})`, stroke: "none" })); };
    area(both, "write"); area(reads, "read");
    machine.tier_bytes_per_cycle.forEach((r) => svg.append(s("line", { x1: left, x2: width - right, y1: z(r * hertz), y2: z(r * hertz), stroke: "var(--dram)", "stroke-dasharray": "5 4" })));
    for (const tick of ticks(0, us(end), 6)) svg.append(s("text", { x: x((tick / us(end)) * end), y: 296, "text-anchor": "middle" }, `${grouped(tick, us(end) < 8 ? 1 : 0)} µs`));
    execution.phases.forEach((phase, number) => { if (number) svg.append(s("line", { class: "grid", x1: x(phase.start), x2: x(phase.start), y1: 20, y2: 278, "stroke-dasharray": "2 3" })); });
    svg.append(s("rect", { x: left, y: 306, width: 10, height: 10, fill: "var(--read)" }), s("text", { x: left + 14, y: 315 }, "read"),
      s("rect", { x: left + 56, y: 306, width: 10, height: 10, fill: "var(--write)" }), s("text", { x: left + 70, y: 315 }, "written"));
    hover(svg, (event) => {
      const box = svg.getBoundingClientRect(), at = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * end;
      if (at < 0 || at > end) return "";
      const live = execution.buffers.filter((b) => b.begin <= at && b.end >= at).sort((a, b) => b.bytes - a.bytes);
      const i = Math.min(reads.length - 1, Math.floor(at / span));
      return `at ${time(at)}: ${bytes(live.reduce((all, b) => all + b.bytes, 0))} in ${count(live.length, "buffer")}\n` + live.slice(0, 5).map((b) => `${bytes(b.bytes)}  ${b.name}`).join("\n") +
        (i >= 0 ? `\nreading ${metric(reads[i][1], "B/s")}, writing ${metric(writes[i][1], "B/s")}` : "");
    });
    body.replaceChildren(svg);
  };
  return { element, update({ section }) { note.textContent = `${facts.sections[section].name}; a buffer counts from its first write to its last read`; draw(section); } };
}

function trafficView() {
  const { element, body, note } = panel("traffic", "Device memory traffic by tensor", { side: "right" });
  const total = facts.traffic.reduce((all, row) => all + row.read_bytes + row.write_bytes, 0), most = Math.max(1, ...facts.traffic.map((row) => row.read_bytes + row.write_bytes));
  note.textContent = `${bytes(total)} in a step`;
  const list = h("div", { class: "scroll", style: "max-height:330px" });
  body.append(list);
  const uses = (name) => facts.sections.findIndex((section) => section.symbols.includes(name));
  return {
    element,
    update() {
      const stream = selectedStream(), chosen = selection.symbol ?? (stream && symbolOf(selection.section, stream));
      list.replaceChildren(table([["tensor", "text"], ["kind", "fixed"], ["read"], ["written"]], facts.traffic.map((row) => ({
        class: row.name === chosen ? "self" : null, pick: () => {
          const here = facts.sections[selection.section].symbols.includes(row.name) ? selection.section : uses(row.name);
          if (here >= 0) select({ section: here, symbol: row.name });
        },
        cells: [[h("span", { class: "mono" }, tailed(row.name)), meter(...["read", "write"].map((way) => [row[`${way}_bytes`] / most, way]))],
          h("span", { class: "soft" }, kindName(row.kind)),
          bytes(row.read_bytes), bytes(row.write_bytes)],
      }))));
    },
  };
}

// Addresses upward, sections rightward: what stays for good reaches across.
function planView() {
  const { element, body, note } = panel("plan", "Device memory plan", { tag: null });
  const tiers = facts.machine.tiers.map((tier, number) => ({ ...tier, number, symbols: facts.symbols.filter((row) => row[4] === number) })).filter((tier) => tier.symbols.length);
  const span = facts.sections.length, width = widthOf(body), left = 76, right = 12;
  const x = (section) => left + (section / span) * (width - left - right);
  const marks = [];
  for (const tier of tiers) {
    const top = Math.max(...tier.symbols.map((row) => row[5] + row[3]), 1), height = 220;
    const y = (address) => 18 + (height - 18) * (1 - address / top);
    const svg = s("svg", { viewBox: `0 0 ${width} ${height + 20}`, role: "img", "aria-label": `plan of ${tier.name}` });
    svg.append(s("text", { x: left, y: 12 }, `${tier.name}: ${bytes(top)} of ${bytes(tier.capacity_bytes)} used; address upward, sections rightward`));
    for (const [name, type, kind, size, , offset, first, last] of tier.symbols) {
      const from = first < 0 ? 0 : first, to = first < 0 ? span : last + 1;
      const mark = s("rect", { x: x(from) + 0.3, width: Math.max(0.6, x(to) - x(from) - 0.6), y: y(offset + size), height: Math.max(0.35, y(offset) - y(offset + size)), fill: kindColour(kind), "fill-opacity": 0.75, style: "cursor:pointer",
        onclick: () => {
          const here = facts.sections.findIndex((section) => section.symbols.includes(name));
          if (here >= 0) select({ section: here, symbol: name });
        } });
      hover(mark, `${name} ${type}\n${kindName(kind)}, ${bytes(size)} at ${bytes(offset)}\n${first < 0 ? "stays from load to unload" : `sections ${facts.sections[first]?.name ?? first} to ${facts.sections[last]?.name ?? last}`}`);
      marks.push({ mark, name });
      svg.append(mark);
    }
    for (const value of byteTicks(top, 4)) svg.append(s("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, bytes(value)));
    const here = s("rect", { class: "here", y: 18, height: height - 18, width: x(1) - x(0), fill: "var(--accent)", "fill-opacity": 0.13, "pointer-events": "none" });
    svg.append(here);
    body.append(svg);
  }
  const kinds = [...new Set(facts.symbols.map((row) => row[2]))];
  body.append(h("div", { class: "legend" }, kinds.map((kind) => h("span", {}, h("i", { class: "swatch", style: `background:${kindColour(kind)}` }), `${kindName(kind)} `,
    h("b", {}, bytes(facts.symbols.filter((row) => row[2] === kind).reduce((all, row) => all + row[3], 0)))))));
  note.textContent = count(facts.symbols.length, "tensor");
  return {
    element,
    update({ section }) {
      for (const here of body.querySelectorAll(".here")) here.setAttribute("x", x(section));
      const stream = selectedStream(), chosen = selection.symbol ?? (stream && symbolOf(section, stream));
      for (const { mark, name } of marks) { mark.setAttribute("stroke", name === chosen ? "var(--mark)" : "none"); mark.setAttribute("stroke-width", 2.5); }
    },
  };
}
