// Sections over the step, and stages, streams and the critical path of the selected section.
const FEW_LANES = 30;

function timelineView() {
  const zoomed = { section: -1, low: 0, high: 1, all: false };
  const overview = h("div", { class: "timeline" });
  const lanes = h("div", { class: "timeline lanes", tabindex: 0, "aria-label": "stages and streams of the section over time" });
  const reset = h("button", { title: "Show the whole section (0)", onclick: () => zoom(0, 1) }, "whole section");
  const every = h("button", { title: "Every stage and stream, or those on the critical path", onclick: () => { zoomed.all = !zoomed.all; drawLanes(); } }, "all lanes");
  const { element, body, note } = panel("timeline", "Timeline", { buttons: [every, reset] });
  body.append(overview, h("div", { class: "small soft between", style: "margin:10px 0 4px" }), lanes);
  const between = body.querySelector(".between");
  note.textContent = "scroll with Ctrl, or W A S D, to zoom and pan";
  const total = facts.verdict.cycles;

  function drawOverview() {
    const width = 1000, svg = s("svg", { viewBox: `0 0 ${width} 44`, height: 44, preserveAspectRatio: "none" });
    facts.sections.forEach((section, number) => {
      const x = (section.start / total) * width, load = section.launch + section.program_load + section.argument_load;
      const draw = (from, cycles, name) => s("rect", { x: (from / total) * width, y: 6, height: 26, width: Math.max(0.4, (cycles / total) * width),
        fill: `var(--${name})` });
      const group = s("g", { class: "section", "data-section": number, style: "cursor:pointer", onclick: () => select({ section: number }) },
        draw(section.start, load, "load"), draw(section.start + load, section.cycles - load, section.bound === "load" ? mostOfPath(number) : section.bound),
        s("rect", { class: "frame", x, y: 3, height: 32, width: Math.max(1, (section.cycles / total) * width), fill: "none", "stroke-width": 2,
          "vector-effect": "non-scaling-stroke" }));
      hover(group, `${section.name} (${section.kind})\n${time(section.cycles)}, ${share(section.cycles / total)} of the step\n` +
        `loading ${time(load)}, executing ${time(section.cycles - load)}\nmostly ${WORDS[section.bound]}`);
      svg.append(group);
    });
    const labels = h("div", { style: "position:relative;height:16px;font-size:11px;color:var(--soft)" });
    let last = -9;
    facts.sections.forEach((section, number) => {
      const at = ((section.start + section.cycles / 2) / total) * 100;
      if (at - last < 7 || section.cycles / total < 0.03) return;
      last = at;
      labels.append(h("span", { style: `position:absolute;left:${at}%;transform:translateX(-50%);white-space:nowrap` }, facts.sections[number].name));
    });
    overview.append(h("div", { class: "labels" }, h("div", { class: "phase", style: "height:44px;line-height:40px" }, `step, ${time(total)}`)), h("div", {}, svg, labels));
  }

  function mostOfPath(section) {
    const path = executionOf(section).path;
    return Object.keys(path).reduce((best, name) => ((path[name] ?? 0) > (path[best] ?? 0) ? name : best), "compute");
  }

  function zoom(low, high) {
    const span = Math.min(1, Math.max(1e-4, high - low));
    zoomed.low = Math.max(0, Math.min(1 - span, low));
    zoomed.high = zoomed.low + span;
    drawLanes();
  }
  const zoomBy = (factor, at = 0.5) => {
    const centre = zoomed.low + at * (zoomed.high - zoomed.low), span = (zoomed.high - zoomed.low) * factor;
    zoom(centre - at * span, centre + (1 - at) * span);
  };
  const pan = (part) => zoom(zoomed.low + part * (zoomed.high - zoomed.low), zoomed.high + part * (zoomed.high - zoomed.low));

  function rowsOf(section) {
    const execution = executionOf(section), rows = [{ what: "path", label: "critical path" }];
    execution.phases.forEach((phase, number) => {
      rows.push({ what: "phase", label: `phase ${number} · loops ${loops(phase.loops)} · ${time(phase.end - phase.start)}`, phase, number });
      const streams = phase.streams.map((item, index) => ({ what: "stream", item, index, number,
        label: `${item.store ? "store" : "load"} ${symbolOf(section, item)}`, short: `${item.store ? "store" : "load"} ${tail(symbolOf(section, item), 26)}` }));
      rows.push(...streams.filter((row) => !row.item.store));
      rows.push(...phase.stages.map((item, index) => ({ what: "stage", item, index, number, label: item.name, source: firstLine(section, item) })));
      rows.push(...streams.filter((row) => row.item.store));
    });
    return rows;
  }
  // Few lanes are shown all; of many, those on the critical path and those that the selection is about.
  function shownRows(section) {
    const rows = rowsOf(section), few = rows.length <= FEW_LANES;
    every.hidden = few;
    every.setAttribute("aria-pressed", zoomed.all);
    if (few || zoomed.all) return rows;
    const kept = rows.filter((row) => !row.item || sum(row.item.path) > 0 || relation(row.what, row.number, row.index, row.item));
    return kept.filter((row, i) => row.what !== "phase" || (kept[i + 1] && kept[i + 1].what !== "phase"));
  }

  function drawLanes() {
    const section = selection.section, execution = executionOf(section), rows = shownRows(section), height = 17;
    const low = zoomed.low * execution.cycles, high = zoomed.high * execution.cycles, width = 1000;
    const x = (cycles) => ((Math.max(low, Math.min(high, cycles)) - low) / (high - low)) * width;
    const labels = h("div", { class: "labels" });
    const svg = s("svg", { viewBox: `0 0 ${width} ${rows.length * height + 18}`, height: rows.length * height + 18, preserveAspectRatio: "none" });
    rows.forEach((row, place) => {
      const y = place * height;
      const label = h("div", { class: row.what, title: row.label }, row.source ? h("span", { class: "source" }, `${row.source} `) : null, row.short ?? row.label);
      labels.append(label);
      if (row.what === "phase") {
        svg.append(s("rect", { x: x(row.phase.start), y: y + 7, width: Math.max(1, x(row.phase.end) - x(row.phase.start)), height: 3, fill: "var(--line)" }));
        return;
      }
      if (row.what === "path") return drawPath(svg, execution, x, y);
      const pick = () => select({ section, phase: row.number, kind: row.what, index: row.index });
      const hit = relation(row.what, row.number, row.index, row.item);
      if (hit) {
        label.classList.add(hit);
        svg.append(s("rect", { x: 0, y, width, height, fill: "var(--accent)", opacity: hit === "self" ? 0.16 : 0.07 }));
      }
      label.addEventListener("click", pick);
      const tone = row.what === "stage" ? stageColour(section, row.number, row.index) : row.item.store ? "var(--write)" : "var(--read)";
      const bars = s("g", { style: "cursor:pointer", onclick: pick });
      for (const [begin, end, firings] of row.item.runs) {
        if (end < low || begin > high) continue;
        const bar = s("rect", { x: x(begin), y: y + (row.what === "stage" ? 3 : 6), width: Math.max(0.6, x(end) - x(begin)), height: row.what === "stage" ? 11 : 5, fill: tone });
        bars.append(hover(bar, `${row.label}\n${count(firings, row.what === "stage" ? "firing" : "transfer")} from ${time(begin)} to ${time(end)}` +
          (row.item.path && Object.keys(row.item.path).length ? `\non the critical path for ${time(sum(row.item.path))}` : "")));
      }
      svg.append(bars);
    });
    const bottom = rows.length * height;
    const axis = h("div", { style: "position:relative;height:16px;font-size:11px;color:var(--soft)" });
    for (const tick of ticks(us(low), us(high), 8)) {
      const at = ((tick - us(low)) / (us(high) - us(low))) * 100;
      svg.append(s("line", { class: "grid", x1: at * 10, x2: at * 10, y1: 0, y2: bottom, "vector-effect": "non-scaling-stroke", opacity: 0.7, "pointer-events": "none" }));
      axis.append(h("span", { style: `position:absolute;left:${at}%;transform:translateX(${at > 96 ? "-100%" : at < 2 ? "0" : "-50%"})` }, `${grouped(tick, us(high - low) < 8 ? 2 : 0)} µs`));
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${bottom}`);
    svg.setAttribute("height", bottom);
    lanes.replaceChildren(labels, h("div", {}, svg, axis));
    const chosen = facts.sections[section];
    between.textContent = `${chosen.name}: executing for ${time(execution.cycles)} after ${time(chosen.cycles - execution.cycles)} of loading` +
      (likeIt(section) > 1 ? `; ${likeIt(section)} sections run like this` : "");
    const self = labels.querySelector(".self");
    if (self && (self.offsetTop - lanes.offsetTop < lanes.scrollTop || self.offsetTop - lanes.offsetTop > lanes.scrollTop + lanes.clientHeight - 20)) {
      lanes.scrollTop = self.offsetTop - lanes.offsetTop - lanes.clientHeight / 2;
    }
  }

  function drawPath(svg, execution, x, y) {
    for (const [begin, end, phase, kind, index, spent] of execution.steps) {
      let from = begin;
      const scale = (end - begin) / (sum(spent) || 1);
      const name = kind ? nameOfActor(selection.section, phase, kind, index) : "between phases";
      for (const bound of BOUNDS.filter((b) => spent[b])) {
        const to = from + spent[bound] * scale;
        const bar = s("rect", { x: x(from), y: y + 2, width: Math.max(0, x(to) - x(from)), height: 13, fill: `var(--${bound})`, style: "cursor:pointer",
          onclick: () => kind && select({ section: selection.section, phase, kind, index }) });
        svg.append(hover(bar, `critical path: ${name}\n${time(spent[bound])} ${WORDS[bound]}`));
        from = to;
      }
    }
  }

  lanes.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = lanes.querySelector("svg").getBoundingClientRect();
    zoomBy(event.deltaY > 0 ? 1.25 : 0.8, Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
  }, { passive: false });
  keys.set("w", () => zoomBy(0.7)).set("s", () => zoomBy(1 / 0.7)).set("a", () => pan(-0.2)).set("d", () => pan(0.2)).set("0", () => zoom(0, 1));

  drawOverview();
  return {
    element,
    update({ section }) {
      if (section !== zoomed.section) Object.assign(zoomed, { section, low: 0, high: 1 });
      for (const group of overview.querySelectorAll("g.section")) {
        const number = Number(group.dataset.section), same = facts.sections[number].execution === facts.sections[section].execution;
        group.querySelector(".frame").setAttribute("stroke", number === section ? "var(--mark)" : same ? "var(--faint)" : "none");
      }
      drawLanes();
    },
  };
}

const sum = (parts) => Object.values(parts).reduce((a, b) => a + b, 0);
function nameOfActor(section, phase, kind, index) {
  const own = executionOf(section).phases[phase];
  if (kind === "stage") return own.stages[index].name;
  return `${own.streams[index].store ? "store" : "load"} ${symbolOf(section, own.streams[index])}`;
}
