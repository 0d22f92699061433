// The first screen: verdict, figures, where the step went, the largest causes, and the next action.
function showHero() {
  const { verdict, machine, options } = facts;
  const batch = options.batch_size;
  const moved = facts.sections.reduce((sum, section) => {
    const execution = facts.executions[section.execution];
    return sum + [...execution.read_bytes, ...execution.write_bytes].reduce((a, b) => a + b, 0);
  }, 0);
  const figure = (value, unit, label, tag = "simulated", title = null) => h("div", { class: "figure", title },
    h("div", { class: "value" }, value, h("small", {}, unit)), h("div", { class: "label" }, label, tag && h("span", { class: "tag" }, tag)));
  const split = (text) => /^(.*?) ?([^ \d.]+)$/.exec(text).slice(1);
  document.querySelector(".hero .left").append(
    h("p", { class: "verdict" }, micro(verdict.sentence)),
    h("div", { class: "figures" },
      figure(...split(time(verdict.cycles)), "one step"),
      batch ? figure(...split(time(verdict.cycles / batch)), `per sample, batch ${batch}`) : null,
      figure(...split(share(verdict.roofline_share)), "of the roofline", "simulated",
        "max(FLOPs / peak, compulsory bytes / bandwidth) divided by the simulated time"),
      figure(...split(bytes(moved)), "device memory traffic"),
      figure(facts.sections.length, "", `section${facts.sections.length === 1 ? "" : "s"}, ${count(facts.executions.length, "distinct one")}`, null)),
    stack(verdict.spent, verdict.cycles, BOUNDS), legend(verdict.spent, verdict.cycles, BOUNDS),
    slowestLines());
  document.querySelector(".hero .right").append(
    h("h3", { style: "margin:0 0 6px" }, "Why, and how much shorter a step would be without each cause"),
    h("div", { class: "cards" }, facts.causes.map(causeCard)), actionCard());
  document.querySelector("header .name").append(facts.name);
  const chosen = [machine.name, options.level, options.preset, batch && `batch ${batch}`, options.microbatch_size && `microbatch ${options.microbatch_size}`];
  document.querySelector("header .options").append(...chosen.filter(Boolean).map((word) => h("span", { class: "tag" }, word)));
}

// The lines with the largest shares of the critical path.
function slowestLines() {
  const shown = facts.lines.slice(0, 4).filter((line) => line.share >= 0.005);
  if (!shown.length) return null;
  const largest = (line) => Number(Object.entries(line.sections).sort((a, b) => b[1] - a[1])[0][0]);
  return h("div", { class: "slowest" }, h("h3", {}, "Slowest source lines ", h("span", { class: "tag" }, "simulated")), shown.map((line) => {
    const name = `${line.file}:${line.line}`, text = (facts.sources[line.file]?.[line.line - 1] ?? Object.keys(line.operators).join(", ")).trim();
    return h("button", { title: name, onclick: () => select({ section: largest(line), line: name }) }, h("span", { class: "source" }, shortLine(name)),
      h("span", { class: "source soft text" }, text), h("span", { class: "number" }, share(line.share)));
  }));
}

// The largest cause is shown even where its removal would gain nothing.
function causeCard(cause) {
  const pick = ({ section, phase, kind, index }) => select(kind ? { section, phase, kind, index } : { section });
  return h("div", { class: "card", style: `--tone:var(--${cause.bound})` },
    h("div", { class: "gain" }, cause.gain_share ? `−${share(cause.gain_share)}` : "no gain", h("small", {}, cause.how)),
    h("div", { class: "why" }, h("i", { class: "swatch", style: `background:var(--${cause.bound})` }), `${share(cause.share)} ${cause.words}`),
    h("div", { class: "small soft" }, micro(cause.remark)),
    h("ul", {}, cause.contributors.map((item) => h("li", {}, h("button", { onclick: () => pick(item) },
      h("span", { class: "label", title: `${item.name} in ${facts.sections[item.section].name}` }, contributorName(item),
        h("span", { class: "faint" }, item.kind ? ` in ${facts.sections[item.section].name}` : "", item.sections > 1 ? ` and ${item.sections - 1} like it` : "")),
      h("span", { class: "number" }, share(item.share)))))));
}

// A stage by its line, which says more than its operators do.
function contributorName({ section, phase, kind, index, name }) {
  if (!kind) return facts.sections[section].name;
  if (kind === "stage") return `${firstLine(section, executionOf(section).phases[phase].stages[index])} ${name}`;
  return kind === "stream" ? `${name.slice(0, name.indexOf(" "))} ${tail(name.slice(name.indexOf(" ") + 1), 16)}` : name;
}

function actionCard() {
  const levers = facts.levers;
  if (!levers) {
    return h("div", { class: "card action" }, h("div", { class: "what" }, h("strong", {}, "No action tried yet. "),
      h("span", { class: "soft" }, "A PEF does not hold its model, and advice that was not tried is not given here. Name the model, and its levers are compiled and compared: "),
      h("code", {}, "snc report … --model MODEL.py")));
  }
  const action = levers.action === null ? null : levers.tried[levers.action];
  const tried = h("details", {}, h("summary", { class: "small soft" }, `${count(levers.tried.length, "lever")} tried, in the compiler's estimate`),
    table([["lever", "fixed"], ["per sample"], ["gain"], ["", "text"]], levers.tried.map((lever, i) => ({
      class: i === levers.action ? "self" : null,
      cells: [h("code", {}, lever.option), lever.cycles === null ? "" : time(lever.cycles_per_sample),
        lever.cycles === null ? "" : `×${lever.speedup.toFixed(2)}`, lever.note],
    }))));
  const remark = h("span", { class: "soft small" }, levers.remark ? ` ${levers.remark}` : "");
  if (!action) {
    return h("div", { class: "card action" }, h("div", { class: "what" }, h("strong", {}, "No lever helps. "),
      h("span", { class: "soft" }, "Every one that was tried is less than 5 % faster than this PEF."), remark, tried));
  }
  return h("div", { class: "card action" },
    h("div", { class: "gain" }, `×${action.speedup.toFixed(2)}`, h("br", {}), h("small", {}, "estimated")),
    h("div", { class: "what" }, h("strong", {}, `Next: ${action.sentence} `), h("code", {}, action.option),
      h("div", { class: "small soft" }, `${time(levers.cycles_per_sample)} → ${time(action.cycles_per_sample)} per sample in the compiler's estimate, both before placement. ${action.note}`, remark),
      tried));
}
