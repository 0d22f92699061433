// What is selected, and the chain from a source line to cycles and back.
function inspectorView() {
  const element = document.querySelector("aside.inspector");
  const go = (label, change) => h("button", { class: "linkish", onclick: () => select(change) }, label);
  const inSection = (change) => ({ section: selection.section, ...change });
  const link = (entries) => h("ul", { class: "chain" }, entries.filter(Boolean).map(([label, ...content]) => h("li", {}, h("span", { class: "label" }, label), content)));

  function crumbs() {
    const parts = [go(facts.sections[selection.section].name, { section: selection.section })];
    if (selection.phase !== null) parts.push(` › phase ${selection.phase}`);
    if (selection.kind) parts.push(` › ${selection.kind}`);
    return h("div", { class: "crumbs" }, parts);
  }
  const lineLinks = (stage) => linesOf(selection.section, stage).map((line) => [go(line, inSection({ line })), " "]);
  function errors() {
    const own = (facts.numbers?.outputs ?? []).filter((output) => facts.sections[selection.section].symbols.includes(output.name));
    return own.map((output) => h("div", { class: "small" }, `${output.name}: off PyTorch by ${output.absolute.toPrecision(3)}${output.passed ? "" : ", too much"} `, h("span", { class: "tag host" }, "host")));
  }
  const numericError = () => (facts.numbers ? (errors().length ? errors() : [h("span", { class: "soft" }, "no output of this section has a reference")]) : [h("span", { class: "soft" }, "not run: --profile does")]);

  function ofSection() {
    const section = facts.sections[selection.section], execution = executionOf(selection.section), like = likeIt(selection.section);
    const host = facts.numbers?.host_us?.[selection.section];
    const lines = facts.lines.filter((line) => line.sections[selection.section]).slice(0, 5);
    return [h("h2", {}, section.name), h("p", { class: "soft small" }, `${section.kind} section${like > 1 ? `, one of ${like} equal ones` : ""}; mostly ${WORDS[section.bound]}`),
      h("div", { style: "margin:8px 0" }, stack({ ...execution.path, load: section.cycles - execution.cycles }, section.cycles, BOUNDS), legend({ ...execution.path, load: section.cycles - execution.cycles }, section.cycles, BOUNDS)),
      pairs([["in all", time(section.cycles)], ["launch", time(section.launch)], ["program load", time(section.program_load)], ["argument load", time(section.argument_load)], ["executing", time(execution.cycles)],
        ["arithmetic", metric((execution.flops / (execution.cycles || 1)) * facts.machine.clock_ghz * 1e9, "FLOP/s")],
        ["PCUs busy", share(execution.pcus[1] / (facts.machine.pcus * execution.cycles || 1)) + " of the machine"],
        ["read", bytes(execution.read_bytes.reduce((a, b) => a + b, 0))], ["written", bytes(execution.write_bytes.reduce((a, b) => a + b, 0))],
        host !== undefined && ["on this host", h("span", {}, `${grouped(host, 0)} µs `, h("span", { class: "tag host" }, "host"))]]),
      h("h3", {}, "From source to cycles"),
      link([["source lines", lines.map((line) => h("div", {}, go(shortLine(`${line.file}:${line.line}`), { section: selection.section, line: `${line.file}:${line.line}` }), h("span", { class: "soft small" }, `  ${time(line.sections[selection.section])}`)))],
        ["phases and loop nests", execution.phases.map((phase, i) => h("div", { class: "small" }, `phase ${i}: loops ${loops(phase.loops)}, ${count(phase.stages.length, "stage")}, ${time(phase.end - phase.start)}`))],
        ["slowest stages on the critical path", slowest(execution)], ["numeric error", numericError()]])];
  }
  function slowest(execution) {
    const all = execution.phases.flatMap((phase, number) => [...phase.stages.map((item, index) => ({ item, number, index, kind: "stage" })), ...phase.streams.map((item, index) => ({ item, number, index, kind: "stream" }))]);
    const ranked = all.filter(({ item }) => sum(item.path) > 0).sort((a, b) => sum(b.item.path) - sum(a.item.path)).slice(0, 6);
    return ranked.map(({ item, number, index, kind }) => h("div", { class: "small" }, go(nameOfActor(selection.section, number, kind, index), inSection({ phase: number, kind, index })), h("span", { class: "soft" }, `  ${time(sum(item.path))}`)));
  }

  function ofStage(stage) {
    const phase = executionOf(selection.section).phases[selection.phase], buffers = executionOf(selection.section).buffers, duration = phase.end - phase.start;
    const ports = (numbers) => numbers.map((number) => h("div", { class: "small" }, go(buffers[number].name, inSection({ kind: "buffer", index: number })), h("span", { class: "soft" }, ` ${bytes(buffers[number].bytes)}, ${count(buffers[number].units.length, "PMU")}`)));
    const modules = [...new Set(placesOf(selection.section, stage).map((place) => place[2]).filter(Boolean))];
    const [batch, row, column, chain] = stage.parallel;
    return [h("h2", {}, h("i", { class: "swatch", style: `background:${stageColour(selection.section, selection.phase, selection.index)}` }), stage.name),
      h("p", { class: "soft small" }, `a stage of phase ${selection.phase}, which takes ${time(duration)}`),
      h("div", { style: "margin:8px 0" }, stack(stage.time, duration, STAGE_TIMES), legend(stage.time, duration, STAGE_TIMES)),
      h("h3", {}, "From source to cycles"),
      link([["source line", lineLinks(stage), modules.length ? h("div", { class: "faint small" }, `module ${modules.slice(0, 3).join(", ")}`) : null],
        ["operators", h("span", { class: "mono" }, stage.operators.join(" → "))],
        ["section", go(facts.sections[selection.section].name, { section: selection.section }), likeIt(selection.section) > 1 ? h("span", { class: "soft small" }, ` and ${likeIt(selection.section) - 1} like it`) : null],
        ["phase and loop nest", `phase ${selection.phase}, loops ${loops(phase.loops)}; fires ${count(stage.firings, "time")}, along ${loops(stage.loops)}`],
        ["reads", ports(stage.reads)], ["units", `${count(stage.units.length, "PCU")}: ${batch} batch × ${row} row × ${column} column${chain > 1 ? `, chains of ${chain}` : ""}`],
        ["writes", ports(stage.writes), stage.combine.length ? h("div", { class: "small soft" }, `partial results combined by ${stage.combine.join(", ")}`) : null],
        ["cycles", `${count(stage.interval, "cycle")} per firing × ${grouped(stage.firings, 0)} = ${time(stage.interval * stage.firings)}`, h("div", { class: "small soft" }, `on the critical path for ${time(sum(stage.path))}`)],
        ["numeric error", numericError()]]),
      h("h3", {}, "A firing needs"), pairs(Object.entries(stage.needs).filter(([, value]) => value).map(([name, value]) => [WORDS[name], count(value, "cycle")])),
      pairs([["latency", time(stage.latency)], ["arithmetic", metric(stage.flops, "FLOPs")]])];
  }

  function ofStream(stream) {
    const buffer = executionOf(selection.section).buffers[stream.buffer], name = symbolOf(selection.section, stream), row = facts.symbols.find((symbol) => symbol[0] === name);
    const spent = stream.runs.length ? stream.runs[stream.runs.length - 1][1] - stream.runs[0][0] : 0;
    return [h("h2", {}, `${stream.store ? "store" : "load"} ${name}`), h("p", { class: "soft small" }, `a stream of phase ${selection.phase}, ${stream.whole ? "all at once" : count(stream.transfers, "transfer")}`),
      link([["tensor", go(name, inSection({ symbol: name })), row ? h("div", { class: "small mono" }, row[1]) : null], ["memory", `${facts.machine.tiers[stream.tier].name}, ${bytes(stream.bytes)}`],
        ["AGCUs", stream.agcus.join(", ")], ["stages that it serves", served(stream)], ["buffer", go(buffer.name, inSection({ kind: "buffer", index: stream.buffer }))],
        ["cycles", `from first to last ${time(spent)}`, h("div", { class: "small soft" }, `on the critical path for ${time(sum(stream.path))}`)]]),
      h("h3", {}, "What set its rate"), pairs(Object.entries(stream.limits).map(([name2, cycles]) => [WORDS[name2] ?? name2, time(cycles)]))];
  }

  // The stages that read what a stream loads, or make what it stores, with their lines.
  function served(stream) {
    return executionOf(selection.section).phases.flatMap((phase, number) => phase.stages.flatMap((stage, index) => {
      if (!(stream.store ? stage.writes : stage.reads).includes(stream.buffer)) return [];
      return [h("div", { class: "small" }, go(stage.name, inSection({ phase: number, kind: "stage", index })), " ", lineLinks(stage))];
    }));
  }

  function ofBuffer(buffer) {
    const users = (test) => executionOf(selection.section).phases.flatMap((phase, number) => [...phase.stages.map((item, index) => ({ item, index, kind: "stage" })), ...phase.streams.map((item, index) => ({ item, index, kind: "stream" }))]
      .filter(({ item, kind }) => test(item, kind)).map(({ index, kind }) => h("div", { class: "small" }, go(nameOfActor(selection.section, number, kind, index), inSection({ phase: number, kind, index })), h("span", { class: "faint" }, ` phase ${number}`))));
    const writes = (item, kind) => (kind === "stage" ? item.writes.includes(selection.index) : !item.store && item.buffer === selection.index);
    const reads = (item, kind) => (kind === "stage" ? item.reads.includes(selection.index) : item.store && item.buffer === selection.index);
    return [h("h2", {}, buffer.name), h("p", { class: "mono small" }, buffer.type),
      link([["written by", users(writes)], ["held", `${buffer.depth} of ${count(buffer.slices, "slice")}, ${bytes(buffer.bytes)} in ${count(buffer.units.length, "PMU")}`],
        ["in use", `${time(buffer.begin)} to ${time(buffer.end)}`], ["read by", users(reads)]])];
  }

  function ofLine(name) {
    const line = facts.lines.find((own) => `${own.file}:${own.line}` === name);
    if (!line) return [h("h2", {}, lineText(name))];
    const text = facts.sources[line.file]?.[line.line - 1];
    const stages = executionOf(selection.section).phases.flatMap((phase, number) => phase.stages.map((stage, index) => ({ stage, number, index }))).filter(({ stage }) => linesOf(selection.section, stage).includes(name));
    return [h("h2", {}, lineText(name)), text ? h("p", { class: "mono small" }, text.trim()) : null, pairs([["critical path", `${time(line.cycles)}, ${share(line.share)} of the step`]]),
      h("h3", {}, "From source to cycles"),
      link([["operators", h("span", { class: "mono" }, Object.entries(line.operators).map(([op, times]) => (times > 1 ? `${times} × ${op}` : op)).join(", "))],
        ["sections", Object.entries(line.sections).sort((a, b) => b[1] - a[1]).slice(0, 8).map(([number, cycles]) => h("div", { class: "small" }, go(facts.sections[number].name, { section: Number(number), line: name }), h("span", { class: "soft" }, `  ${time(cycles)}`)))],
        [`stages of ${facts.sections[selection.section].name}`, stages.map(({ stage, number, index }) => h("div", { class: "small" }, go(stage.name, inSection({ phase: number, kind: "stage", index })), h("span", { class: "soft" }, `  ${time(sum(stage.path))} of path, ${count(stage.units.length, "PCU")}`)))],
        ["numeric error", numericError()]])];
  }

  function ofSymbol(name) {
    const row = facts.symbols.find((symbol) => symbol[0] === name), traffic = facts.traffic.find((own) => own.name === name);
    const users = facts.sections.map((section, number) => ({ section, number })).filter(({ section }) => section.symbols.includes(name));
    const output = facts.numbers?.outputs.find((own) => own.name === name);
    return [h("h2", {}, name), row ? h("p", { class: "mono small" }, row[1]) : null,
      pairs([row && ["kind", row[2].toLowerCase()], row && ["memory", `${facts.machine.tiers[row[4]].name}, ${bytes(row[3])}`], traffic && ["read", bytes(traffic.read_bytes)], traffic && ["written", bytes(traffic.write_bytes)],
        output && ["off PyTorch by", h("span", {}, `${output.absolute.toPrecision(3)} `, h("span", { class: "tag host" }, "host"))]]),
      link([["used by", users.slice(0, 12).map(({ section, number }) => h("div", { class: "small" }, go(section.name, { section: number, symbol: name })))]])];
  }

  function content() {
    if (selection.line) return ofLine(selection.line);
    if (selection.symbol) return ofSymbol(selection.symbol);
    if (selectedStage()) return ofStage(selectedStage());
    if (selectedStream()) return ofStream(selectedStream());
    if (selection.kind === "buffer") return ofBuffer(executionOf(selection.section).buffers[selection.index]);
    return ofSection();
  }
  return { element, update() { element.replaceChildren(...[crumbs(), ...content()].filter(Boolean)); } };
}
