// The user's lines by what they cost, and the text around the selected one.
function sourceView() {
  const { element, body, note } = panel("source", "Source lines", { side: "right" });
  const list = h("div", { class: "scroll" }), text = h("div", { class: "text-of-source", tabindex: 0 });
  body.append(list, text);
  note.textContent = "share of the step's critical path";
  const most = facts.lines.length ? facts.lines[0].share : 1;
  const textOf = (line) => (facts.sources[line.file]?.[line.line - 1] ?? "").trim();
  const pick = (line) => {
    const sections = Object.entries(line.sections).sort((a, b) => b[1] - a[1]);
    const here = sections.find(([number]) => Number(number) === selection.section) ?? sections[0];
    select({ section: Number(here[0]), line: `${line.file}:${line.line}` });
  };
  const hits = () => {
    const stage = selectedStage();
    return new Set(selection.line ? [selection.line] : stage ? linesOf(selection.section, stage) : []);
  };
  function drawList(chosen) {
    const total = facts.verdict.cycles, loading = facts.verdict.spent.load ?? 0;
    const rows = facts.lines.filter((line, i) => i < 200 || chosen.has(`${line.file}:${line.line}`)).map((line) => ({
      class: chosen.has(`${line.file}:${line.line}`) ? "self" : null, pick: () => pick(line),
      cells: [h("span", { class: "source", title: line.file }, shortLine(`${line.file}:${line.line}`)), [h("span", { class: "source soft", title: textOf(line) || operatorsOf(line) }, textOf(line) || operatorsOf(line)), meter([line.share / most, "compute"])],
        share(line.share), time(line.cycles)],
    }));
    rows.push({ class: "soft", cells: ["no line", "loading and launching sections", share(loading / total), time(loading)] });
    list.replaceChildren(table([["line", "fixed"], ["", "text"], ["share"], ["time"]], rows));
  }
  const operatorsOf = (line) => Object.entries(line.operators).map(([name, times]) => (times > 1 ? `${times} × ${name}` : name)).join(", ");
  function drawText(chosen) {
    const first = [...chosen][0] ?? (facts.lines[0] && `${facts.lines[0].file}:${facts.lines[0].line}`);
    const file = first?.slice(0, first.lastIndexOf(":"));
    const lines = facts.sources[file];
    text.hidden = !lines;
    if (!lines) return;
    const cost = new Map(facts.lines.filter((line) => line.file === file).map((line) => [line.line, line]));
    text.replaceChildren(...lines.map((content, i) => {
      const line = cost.get(i + 1), name = `${file}:${i + 1}`;
      return h("div", { class: [line ? "hot" : "", chosen.has(name) ? "self" : ""].join(" ").trim() || null, onclick: line ? () => pick(line) : () => {} },
        h("span", { class: "heat", style: line ? `box-shadow: inset -${Math.max(2, Math.round((line.share / most) * 54))}px 0 color-mix(in srgb, var(--compute) 55%, transparent)` : null }, line ? share(line.share) : ""),
        h("span", { class: "no" }, i + 1), content || " ");
    }));
    const at = text.children[Number(first.slice(first.lastIndexOf(":") + 1)) - 1];
    if (at) text.scrollTop = at.offsetTop - text.offsetTop - 90;
  }
  return { element, update() { const chosen = hits(); drawList(chosen); drawText(chosen); } };
}
