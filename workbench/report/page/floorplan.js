// The grid of units: PCUs are squares, PMUs are discs, AGCUs stand at the edge they are attached to.
function floorplanView() {
  const { rows, columns, faulty_sites: faulty, agcu_sites: agcus, rdu_tile_rows, rdu_tile_columns } = facts.machine;
  const shown = { colours: "stage", nets: true, links: false };
  const canvas = h("canvas", { role: "img", "aria-label": "floorplan of the selected section" });
  const colours = ["stage", "utilisation"].map((name) => h("button", { "data-name": name, onclick: () => { shown.colours = name; draw(); } }, name));
  const nets = h("button", { title: "Nets of the selection (N)", onclick: () => toggle("nets") }, "nets");
  const links = h("button", { title: "How full links are (H)", onclick: () => toggle("links") }, "link heat");
  const back = h("button", { title: "Section before ([)", onclick: () => stepSection(-1) }, "‹");
  const forth = h("button", { title: "Section after (])", onclick: () => stepSection(1) }, "›");
  const { element, body, note } = panel("floorplan", "Floorplan", { side: "left", tag: null, buttons: [back, forth, ...colours, nets, links] });
  const scale = h("div", { class: "scale", style: "margin-top:6px" });
  body.append(canvas, scale);
  let plan = null, cells = new Map(), size = 10;

  const toggle = (name) => { shown[name] = !shown[name]; draw(); };
  keys.set("n", () => toggle("nets")).set("h", () => toggle("links"));

  // What each site holds: its stage, or the buffers in it.
  function occupants(section) {
    const found = new Map(), execution = executionOf(section);
    execution.buffers.forEach((buffer, number) => buffer.units.forEach((unit) => {
      const site = plan.sites[unit];
      if (!found.has(site)) found.set(site, { buffers: [] });
      found.get(site).buffers.push(number);
    }));
    execution.phases.forEach((phase, number) => phase.stages.forEach((stage, index) => {
      const busy = (stage.interval * stage.firings) / (execution.cycles || 1);
      stage.units.forEach((unit) => found.set(plan.sites[unit], { phase: number, index, stage, busy: Math.min(1, busy) }));
    }));
    return found;
  }

  function centre(site) {
    return [(site % columns + 0.5) * size + margin(), (Math.floor(site / columns) + 0.5) * size + margin()];
  }
  const margin = () => Math.max(9, size * 0.9);
  // AGCUs are drawn outside of the nearest edge.
  function agcuCentre(number) {
    const site = agcus[number], row = Math.floor(site / columns), column = site % columns, [x, y] = centre(site);
    const distance = { left: column, right: columns - 1 - column, top: row, bottom: rows - 1 - row };
    const edge = Object.keys(distance).reduce((a, b) => (distance[b] < distance[a] ? b : a));
    const off = size / 2 + 5;
    return { left: [x - off - column * size, y], right: [x + off + distance.right * size, y], top: [x, y - off - row * size], bottom: [x, y + off + distance.bottom * size] }[edge];
  }

  function draw() {
    if (!plan) return;
    for (const button of colours) button.setAttribute("aria-pressed", button.dataset.name === shown.colours);
    nets.setAttribute("aria-pressed", shown.nets);
    links.setAttribute("aria-pressed", shown.links);
    const width = canvas.parentElement.clientWidth, ratio = devicePixelRatio || 1;
    size = (width - 2 * 9) / (columns + 1.8);
    size = Math.min(size, 26);
    const height = rows * size + 2 * margin();
    canvas.style.height = `${height}px`;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    cells = occupants(selection.section);
    drawTiles(pen);
    for (let site = 0; site < rows * columns; site += 1) drawSite(pen, site);
    agcus.forEach((_, number) => drawAgcu(pen, number));
    if (shown.links) drawLinks(pen);
    if (shown.nets) drawNets(pen);
    drawScale();
  }

  function drawTiles(pen) {
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    for (let c = 1; c < rdu_tile_columns; c += 1) line(pen, [[margin() + (c * columns / rdu_tile_columns) * size, margin()], [margin() + (c * columns / rdu_tile_columns) * size, margin() + rows * size]]);
    for (let r = 1; r < rdu_tile_rows; r += 1) line(pen, [[margin(), margin() + (r * rows / rdu_tile_rows) * size], [margin() + columns * size, margin() + (r * rows / rdu_tile_rows) * size]]);
  }
  function line(pen, points) {
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
  }

  function hitOf(cell) {
    if (!cell) return "";
    if (cell.stage) return relation("stage", cell.phase, cell.index, cell.stage);
    const hits = cell.buffers.map((number) => relation("buffer", null, number));
    return hits.includes("self") ? "self" : hits.includes("related") ? "related" : "";
  }

  function drawSite(pen, site) {
    const [x, y] = centre(site), cell = cells.get(site), isPcu = (Math.floor(site / columns) + (site % columns)) % 2 === 0;
    const half = size * (isPcu ? 0.42 : 0.36), hit = hitOf(cell), chosen = selection.kind || selection.line || selection.symbol;
    pen.globalAlpha = chosen && !hit ? 0.35 : 1;
    pen.fillStyle = cell ? toneOf(cell) : colour(isPcu ? "cell" : "cell-pmu");
    pen.beginPath();
    if (isPcu) pen.rect(x - half, y - half, 2 * half, 2 * half);
    else pen.arc(x, y, half, 0, 7);
    pen.fill();
    pen.globalAlpha = 1;
    if (hit) {
      pen.strokeStyle = hit === "self" ? colour("mark") : colour("accent");
      pen.lineWidth = hit === "self" ? 2 : 1.4;
      pen.stroke();
    }
    if (faulty.includes(site)) {
      pen.strokeStyle = colour("dram");
      pen.lineWidth = 1.6;
      line(pen, [[x - half, y - half], [x + half, y + half]]);
      line(pen, [[x - half, y + half], [x + half, y - half]]);
    }
  }

  function toneOf(cell) {
    if (cell.stage) return shown.colours === "stage" ? stageColour(selection.section, cell.phase, cell.index) : heat(cell.busy);
    if (shown.colours === "utilisation") {
      const held = cell.buffers.reduce((all, number) => {
        const buffer = executionOf(selection.section).buffers[number];
        return all + buffer.bytes / buffer.units.length;
      }, 0);
      return heat(held / facts.machine.pmu_bytes);
    }
    const writer = writerOf(cell.buffers[0]);
    return writer === null ? colour("faint") : stageColour(selection.section, ...writer);
  }
  // Of a buffer, the phase and stage that fill it, or null for a load.
  function writerOf(buffer) {
    for (const [number, phase] of executionOf(selection.section).phases.entries()) {
      const index = phase.stages.findIndex((stage) => stage.writes.includes(buffer));
      if (index >= 0) return [number, index];
    }
    return null;
  }

  function drawAgcu(pen, number) {
    const [x, y] = agcuCentre(number), stream = selectedStream();
    pen.fillStyle = stream?.agcus.includes(number) ? colour("accent") : colour("faint");
    pen.beginPath();
    pen.moveTo(x, y - 4); pen.lineTo(x + 4, y); pen.lineTo(x, y + 4); pen.lineTo(x - 4, y);
    pen.fill();
  }

  // The two ends of a link: right, left, down or up of the site that it leaves.
  function endsOf(link) {
    const site = link >> 2;
    return [centre(site), centre(site + [1, -1, columns, -columns][link & 3])];
  }
  const currentPhase = () => (selection.phase !== null ? selection.phase : longestPhase());
  const longestPhase = () => {
    const phases = executionOf(selection.section).phases;
    return phases.reduce((best, phase, i) => (phase.end - phase.start > phases[best].end - phases[best].start ? i : best), 0);
  };

  function drawLinks(pen) {
    const phase = currentPhase(), loads = plan.links[phase] ?? [], own = executionOf(selection.section).phases[phase];
    const span = own.end - own.start || 1;
    for (const [link, cycles] of loads) {
      const [[x1, y1], [x2, y2]] = endsOf(link), dx = (y2 - y1) * 0.16, dy = (x1 - x2) * 0.16;
      pen.strokeStyle = heat(cycles / span);
      pen.lineWidth = Math.max(0.8, size * 0.13) + 1.6 * Math.min(1, cycles / span);
      line(pen, [[x1 + dx, y1 + dy], [x2 + dx, y2 + dy]]);
    }
  }

  function drawNets(pen) {
    if (selection.kind !== "stage" && selection.kind !== "stream") return;
    const chosen = plan.nets.filter(([phase, owner, index]) => phase === selection.phase && owner === selection.kind && index === selection.index);
    const tones = { read: colour("read"), write: colour("write"), load: colour("read"), store: colour("write"), chain: colour("mark"), index: colour("network") };
    pen.lineWidth = 1.4;
    for (const [, , , kind, , source, sinks, , route] of chosen) {
      pen.strokeStyle = tones[kind];
      for (const link of route) line(pen, endsOf(link));
      for (const end of [source, ...sinks]) if (end < 0) line(pen, [agcuCentre(-1 - end), centre(agcus[-1 - end])]);
    }
  }

  function drawScale() {
    const parts = [];
    if (shown.colours === "utilisation") parts.push("idle", h("i", {}), "busy all the time (PCU), full (PMU)", h("span", { class: "tag" }, "simulated"));
    else parts.push("■ PCU in the colour of its stage  ● PMU in that of the stage which fills it  ◆ AGCU");
    if (faulty.length) parts.push(h("span", {}, `✕ ${count(faulty.length, "faulty site")}`));
    if (shown.links) parts.push(h("span", {}, `links of phase ${currentPhase()}: idle`), h("i", {}), "as long as the phase");
    scale.replaceChildren(...parts);
  }

  function siteAt(event) {
    const box = canvas.getBoundingClientRect(), column = Math.floor((event.clientX - box.left - margin()) / size), row = Math.floor((event.clientY - box.top - margin()) / size);
    return column >= 0 && column < columns && row >= 0 && row < rows ? row * columns + column : null;
  }
  canvas.addEventListener("pointermove", (event) => showTip(event, describe(siteAt(event))));
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("click", (event) => {
    const cell = cells.get(siteAt(event)), section = selection.section;
    if (cell?.stage) select({ section, phase: cell.phase, kind: "stage", index: cell.index });
    else if (cell) select({ section, phase: null, kind: "buffer", index: cell.buffers[0] });
    else select({ section });
  });
  function describe(site) {
    if (site === null) return "";
    const where = `row ${Math.floor(site / columns)}, column ${site % columns}`, cell = cells.get(site);
    if (faulty.includes(site)) return `faulty, ${where}`;
    if (!cell) return `free, ${where}`;
    if (cell.stage) return `PCU of ${cell.stage.name}, phase ${cell.phase}\nbusy ${share(cell.busy)} of the section\n${where}`;
    const buffers = cell.buffers.map((number) => executionOf(selection.section).buffers[number]);
    const held = buffers.reduce((all, buffer) => all + buffer.bytes / buffer.units.length, 0);
    return `PMU, ${share(held / facts.machine.pmu_bytes)} full\n${buffers.slice(0, 6).map((b) => b.name).join("\n")}\n${where}`;
  }
  new ResizeObserver(draw).observe(body);

  return {
    element,
    async update({ section }) {
      const execution = executionOf(section);
      const loaded = await floorplanOf(execution.configuration);
      if (section !== selection.section) return;
      plan = loaded;
      note.textContent = `${facts.sections[section].name}: ${execution.pcus[0]} of ${facts.machine.pcus} PCUs, ${execution.pmus[0]} of ${facts.machine.pmus} PMUs`;
      draw();
    },
    redraw: draw,
  };
}

function stepSection(step) {
  select({ section: (selection.section + step + facts.sections.length) % facts.sections.length });
}
