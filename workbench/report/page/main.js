// Search, keys, theme, and the order of the page.
const keys = new Map();

function searchBox() {
  const input = document.querySelector(".search input"), list = document.querySelector(".search ul");
  let found = [], place = 0;
  const entries = [];
  const seen = new Set();
  facts.sections.forEach((section, number) => {
    entries.push({ what: "section", label: section.name, change: { section: number } });
    if (seen.has(section.execution)) return;
    seen.add(section.execution);
    executionOf(number).phases.forEach((phase, p) => phase.stages.forEach((stage, index) => entries.push({ what: "stage",
      label: `${stage.name}  ${lineText(linesOf(number, stage)[0] ?? "")}  ${section.name}`, words: stage.operators.join(" "), change: { section: number, phase: p, kind: "stage", index } })));
  });
  facts.lines.forEach((line) => entries.push({ what: "line", label: `${lineText(`${line.file}:${line.line}`)}  ${(facts.sources[line.file]?.[line.line - 1] ?? "").trim()}`,
    words: Object.keys(line.operators).join(" "), change: { section: Number(Object.entries(line.sections).sort((a, b) => b[1] - a[1])[0][0]), line: `${line.file}:${line.line}` } }));
  const home = new Map();
  facts.sections.forEach((section, number) => section.symbols.forEach((name) => { if (!home.has(name)) home.set(name, number); }));
  facts.symbols.forEach((row) => { if (home.has(row[0])) entries.push({ what: "tensor", label: `${row[0]}  ${row[1]}`, change: { section: home.get(row[0]), symbol: row[0] } }); });

  const choose = (entry) => { select(entry.change); list.hidden = true; input.blur(); };
  function show() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = words.length ? entries.filter((entry) => words.every((word) => `${entry.what} ${entry.label} ${entry.words ?? ""}`.toLowerCase().includes(word))).slice(0, 40) : [];
    place = 0;
    list.hidden = !words.length;
    list.replaceChildren(...(found.length ? found.map((entry, i) => h("li", { role: "option", "aria-selected": i === place, onpointerdown: (event) => { event.preventDefault(); choose(entry); } },
      h("span", { class: "what" }, entry.what), h("span", { class: "label" }, entry.label))) : [h("li", { class: "soft" }, "nothing")]));
  }
  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", () => { list.hidden = true; });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && found[place]) choose(found[place]);
    if (event.key === "Escape") { input.value = ""; input.blur(); }
    if (!["ArrowDown", "ArrowUp"].includes(event.key) || !found.length) return;
    event.preventDefault();
    place = (place + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
    [...list.children].forEach((item, i) => { item.setAttribute("aria-selected", i === place); if (i === place) item.scrollIntoView({ block: "nearest" }); });
  });
  keys.set("/", () => input.focus());
}

function theme() {
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  const set = (name) => { document.documentElement.dataset.theme = name; for (const view of views) view.redraw?.(); };
  set(wanted.matches ? "dark" : "light");
  const turn = () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  document.querySelector("#theme").addEventListener("click", turn);
  keys.set("t", turn);
  let before = null;
  addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; set("light"); });
  addEventListener("afterprint", () => set(before ?? "light"));
}

function stepStage(step) {
  const all = executionOf(selection.section).phases.flatMap((phase, p) => phase.stages.map((_, index) => ({ phase: p, index })));
  if (!all.length) return;
  const here = all.findIndex((own) => selection.kind === "stage" && own.phase === selection.phase && own.index === selection.index);
  const next = all[here < 0 ? (step > 0 ? 0 : all.length - 1) : (here + step + all.length) % all.length];
  select({ section: selection.section, kind: "stage", ...next });
}

function shortcuts() {
  const help = document.querySelector("dialog");
  keys.set("?", () => (help.open ? help.close() : help.showModal())).set("]", () => stepSection(1)).set("[", () => stepSection(-1)).set("j", () => stepStage(1)).set("k", () => stepStage(-1))
    .set("Escape", () => select({ section: selection.section }));
  document.querySelector("#help").addEventListener("click", () => help.showModal());
  help.querySelector("button").addEventListener("click", () => help.close());
  addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys.get(event.key);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

async function start() {
  facts = await unpacked("facts");
  document.body.append(tip);
  document.title = `${facts.name}: snc report`;
  showHero();
  const wanted = [timelineView, floorplanView, sourceView, rooflineView, occupancyView, trafficView, planView, sectionsView];
  if (facts.considered?.length) wanted.push(consideredView);
  if (facts.against) wanted.splice(0, 0, comparisonView);
  views.push(...wanted.map((view) => view()), inspectorView());
  searchBox();
  theme();
  shortcuts();
  select(selectionFromAddress());
  addEventListener("hashchange", () => select(selectionFromAddress()));
  document.documentElement.dataset.ready = "true";
}
start();
