// Sections with their stages as a table, what the mapper considered, and the comparison with another PEF.
function sectionsView() {
  const { element, body, note } = panel("sections", "Sections and stages");
  const groups = [];
  facts.sections.forEach((section, number) => {
    const own = groups.find((group) => group.execution === section.execution);
    if (own) own.sections.push(number);
    else groups.push({ execution: section.execution, sections: [number] });
  });
  note.textContent = "equal sections in one row; the stages of the selected one below it";
  const list = h("div", { class: "scroll", style: "max-height:460px" });
  body.append(list);
  const columns = [["section", "text"], ["loops", "fixed"], ["PCUs"], ["PMUs"], ["time"], ["share"], ["FLOPs"], ["read"], ["written"], ["where its time goes", "fixed"]];
  const all = (values) => values.reduce((a, b) => a + b, 0);
  function sectionRow(group) {
    const section = facts.sections[group.sections[0]], execution = facts.executions[group.execution];
    const cycles = all(group.sections.map((number) => facts.sections[number].cycles)), chosen = group.sections.includes(selection.section);
    return { class: chosen && !selection.kind ? "self" : null, pick: () => select({ section: group.sections[0] }), style: "font-weight:600",
      cells: [[section.name + (group.sections.length > 1 ? ` and ${group.sections.length - 1} like it` : ""), h("small", {}, `mostly ${WORDS[section.bound]}`)], count(execution.phases.length, "phase"), execution.pcus[0], execution.pmus[0], time(cycles), share(cycles / facts.verdict.cycles),
        metric(execution.flops, ""), bytes(all(execution.read_bytes)), bytes(all(execution.write_bytes)),
        h("div", { style: "width:130px" }, stack({ ...execution.path, load: section.cycles - execution.cycles }, section.cycles, BOUNDS))] };
  }
  function stageRows(execution) {
    return execution.phases.flatMap((phase, number) => phase.stages.map((stage, index) => ({
      class: relation("stage", number, index, stage) || null, pick: () => select({ section: selection.section, phase: number, kind: "stage", index }),
      cells: [h("div", { style: "padding-left:18px;overflow:hidden;text-overflow:ellipsis", title: stage.name }, h("i", { class: "swatch", style: `background:${stageColour(selection.section, number, index)}` }), stage.name,
        h("small", {}, `${firstLine(selection.section, stage)}, ${share(sum(stage.path) / (execution.cycles || 1))} of its section's path`)),
        `phase ${number}: ${loops(stage.loops)}`, stage.units.length, "", time(stage.interval * stage.firings), "", metric(stage.flops, ""), "", "",
        h("div", { style: "width:130px" }, stack(stage.time, phase.end - phase.start, STAGE_TIMES))],
    })));
  }
  return {
    element,
    update({ section }) {
      const rows = groups.flatMap((group) => [sectionRow(group), ...(group.sections.includes(section) ? stageRows(facts.executions[group.execution]) : [])]);
      list.replaceChildren(table(columns, rows));
    },
  };
}

function consideredView() {
  const { element, body } = panel("considered", "What the mapper considered", { tag: "estimated" });
  const rows = facts.considered.flatMap((section) => section.alternatives.map((other, i) => ({
    cells: [i ? "" : section.name, i ? "" : `${section.stages} stages, ends after ${section.ends_after}`, other.what, micro(other.why)],
  })));
  body.append(h("div", { class: "scroll" }, table([["section", "fixed"], ["chosen", "prose"], ["considered", "prose"], ["rejected because", "prose"]], rows)));
  return { element, update() {} };
}

function comparisonView() {
  const { element, body, note } = panel("against", `Compared with ${facts.against.name}`);
  const other = facts.against, own = facts.verdict;
  // Different batches are compared by the sample.
  const bySample = Boolean(other.batch_size && facts.options.batch_size), of = bySample ? "per sample" : "a step";
  const mine = own.cycles / facts.machine.clock_ghz / 1e3 / (bySample ? facts.options.batch_size : 1), theirs = other.cycles / other.clock_ghz / 1e3 / (bySample ? other.batch_size : 1);
  const row = (name, value, spent, cycles) => h("div", { style: "display:grid;grid-template-columns:190px 1fr 180px;gap:10px;align-items:center;margin:4px 0" }, h("strong", {}, name),
    h("div", { style: `width:${(value / Math.max(mine, theirs)) * 100}%` }, stack(spent, cycles, BOUNDS)), h("span", { class: "number" }, `${grouped(value, 2)} µs ${of}`));
  note.textContent = theirs >= mine ? `${(theirs / mine).toFixed(2)} times as fast ${of}` : `takes ${(mine / theirs).toFixed(2)} times as long ${of}`;
  body.append(row(`this: ${facts.name}`, mine, own.spent, own.cycles), row(`other: ${other.name}`, theirs, other.spent, other.cycles), legend(own.spent, own.cycles, BOUNDS),
    h("p", { class: "soft small", style: "margin-top:8px" }, micro(other.sentence)),
    h("h3", {}, "What was asked for differently"), other.options.length ? pairs(other.options.map(([name, mine, theirs]) => [name, `${theirs ?? "none"} → ${mine ?? "none"}`])) : h("p", { class: "soft" }, "nothing"),
    h("h3", {}, "Times"), table([["", "fixed"], ["other"], ["this"], ["change"]], other.rows.map(([name, before, now]) => ({ cells: [name, `${grouped(before, 1)} µs`, `${grouped(now, 1)} µs`,
      before ? `${now > before ? "+" : "−"}${share(Math.abs(now / before - 1))}` : "new"] }))));
  return { element, update() {} };
}
