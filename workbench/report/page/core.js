// Data, the one selection that all views share, and small helpers.
const BOUNDS = ["compute", "dram", "load", "fill", "network", "port", "agcu", "exchange"];
const WORDS = {
  compute: "computing", dram: "device memory", load: "loading and launching", fill: "filling and draining",
  network: "links", port: "PMU ports", agcu: "AGCUs", exchange: "exchange", input: "waiting for input",
  output: "waiting for room", drain: "drained",
};
const STAGE_TIMES = ["compute", "port", "network", "exchange", "input", "output", "dram", "fill", "drain"];
const PALETTE = ["#2776b5", "#e3a123", "#059f74", "#d3a8c0", "#53b4eb", "#d55e00", "#ece316", "#4f4292"];
const CIVIDIS = [[53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

let facts = null;
let selection = { section: 0, phase: null, kind: null, index: null, line: null, symbol: null };
const views = [];
const floorplans = new Map();

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function floorplanOf(configuration) {
  if (!floorplans.has(configuration)) floorplans.set(configuration, await unpacked(`floorplan-${configuration}`));
  return floorplans.get(configuration);
}

// -- the selection -------------------------------------------------------------------------------------------------

function select(change) {
  selection = { section: selection.section, phase: null, kind: null, index: null, line: null, symbol: null, ...change };
  const { section, phase, kind, index, line, symbol } = selection;
  const words = [`section=${section}`];
  if (kind) words.push(`phase=${phase}`, `${kind}=${index}`);
  if (line) words.push(`line=${encodeURIComponent(line)}`);
  if (symbol) words.push(`symbol=${encodeURIComponent(symbol)}`);
  history.replaceState(null, "", `#${words.join("&")}`);
  for (const view of views) view.update(selection);
}

function selectionFromAddress() {
  const given = new Map(location.hash.slice(1).split("&").map((word) => word.split("=")));
  const number = (name) => (given.has(name) ? Number(given.get(name)) : null);
  const found = { section: Math.min(number("section") ?? slowestSection(), facts.sections.length - 1) };
  for (const kind of ["stage", "stream", "buffer"]) {
    if (given.has(kind)) Object.assign(found, { kind, index: number(kind), phase: number("phase") });
  }
  if (given.has("line")) found.line = decodeURIComponent(given.get("line"));
  if (given.has("symbol")) found.symbol = decodeURIComponent(given.get("symbol"));
  return found;
}

const slowestSection = () => facts.sections.reduce((best, s, i) => (s.cycles > facts.sections[best].cycles ? i : best), 0);
const executionOf = (section) => facts.executions[facts.sections[section].execution];
const likeIt = (section) => facts.sections.filter((s) => s.execution === facts.sections[section].execution).length;

function placesOf(section, stage) {
  const own = facts.sections[section].places.slice(stage.first_operator, stage.first_operator + stage.operators.length);
  return own.map((place) => facts.places[place]);
}
// The end of a long name says more than its beginning.
const tail = (name, most) => (name.length > most ? `…${name.slice(1 - most).replace(/^[._]+/, "")}` : name);
// What the toolchain adds, such as an optimizer's update, has a name in angle brackets and no line.
const lineText = (line) => line.replace(/>:0$/, ">");
const shortLine = (line) => lineText(line.slice(line.lastIndexOf("/") + 1));
const lineName = (place) => `${place[0]}:${place[1]}`;
const linesOf = (section, stage) => [...new Set(placesOf(section, stage).map(lineName))];
const firstLine = (section, stage) => shortLine(linesOf(section, stage)[0] ?? "");
const selectedStage = () => (selection.kind === "stage" ? executionOf(selection.section).phases[selection.phase].stages[selection.index] : null);
const selectedStream = () => (selection.kind === "stream" ? executionOf(selection.section).phases[selection.phase].streams[selection.index] : null);

// Buffers that the selection is about: what a stage reads and writes, what a stream fills or empties.
function selectedBuffers() {
  const stage = selectedStage(), stream = selectedStream();
  if (stage) return new Set([...stage.reads, ...stage.writes]);
  if (stream) return new Set([stream.buffer]);
  if (selection.kind === "buffer") return new Set([selection.index]);
  if (selection.symbol) {
    const own = executionOf(selection.section).phases.flatMap((phase) => phase.streams);
    return new Set(own.filter((s) => symbolOf(selection.section, s) === selection.symbol).map((s) => s.buffer));
  }
  return new Set();
}
const symbolOf = (section, stream) => facts.sections[section].symbols[stream.slot];

// "self", "related" or "" for a stage, stream or buffer of the selected section.
function relation(kind, phase, index, item) {
  if (selection.kind === kind && selection.index === index && (kind === "buffer" || selection.phase === phase)) return "self";
  if (kind === "stage" && selection.line) return linesOf(selection.section, item).includes(selection.line) ? "self" : "";
  if (kind === "stream" && selection.symbol) return symbolOf(selection.section, item) === selection.symbol ? "self" : "";
  const buffers = selectedBuffers();
  if (kind === "stage" && selection.kind !== "stage") {
    return [...item.reads, ...item.writes].some((b) => buffers.has(b)) ? "related" : "";
  }
  if (kind === "stream") return selection.kind !== "stream" && buffers.has(item.buffer) ? "related" : "";
  if (kind === "buffer") return buffers.has(index) ? "related" : "";
  return "";
}

// -- numbers -------------------------------------------------------------------------------------------------------

const us = (cycles) => cycles / (facts.machine.clock_ghz * 1e3);
const grouped = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
function time(cycles) {
  const value = us(cycles);
  if (value < 0.9995) return `${grouped(value * 1e3, 0)} ns`;
  if (value < 1e4) return `${grouped(value, value < 100 ? 2 : 1)} µs`;
  return value < 999995 ? `${grouped(value / 1e3, 2)} ms` : `${grouped(value / 1e6, 2)} s`;
}
// The facts spell microseconds as terminals do.
const micro = (text) => text.replace(/ us\b/g, " µs");
function bytes(count) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (count < 1024) return `${grouped(count, unit === "B" || count >= 100 ? 0 : 1)} ${unit}`;
    count /= 1024;
  }
  return `${grouped(count, 1)} TiB`;
}
const share = (part) => (part > 0 && part < 0.0995 ? `${(part * 100).toFixed(1)}%` : `${Math.round(part * 100)}%`);
const count = (number, noun) => `${grouped(number, 0)} ${noun}${number === 1 ? "" : "s"}`;
const loops = (counts) => counts.join(" × ") || "1";
function metric(value, unit) {
  const prefixes = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [scale, prefix] = prefixes.find(([s]) => value >= s) ?? [1, ""];
  return `${grouped(value / scale, value / scale < 10 ? 2 : value / scale < 100 ? 1 : 0)} ${prefix}${unit}`;
}

// -- elements ------------------------------------------------------------------------------------------------------

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// Stages take colours in turn, over all phases of a section.
function stageColour(section, phase, index) {
  const before = executionOf(section).phases.slice(0, phase).reduce((all, own) => all + own.stages.length, 0);
  return PALETTE[(before + index) % PALETTE.length];
}
function heat(part) {
  const place = Math.max(0, Math.min(1, part)) * (CIVIDIS.length - 1), low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = CIVIDIS[low].map((c, i) => Math.round(c + (CIVIDIS[low + 1][i] - c) * (place - low)));
  return `rgb(${mixed.join(",")})`;
}

const tip = h("div", { class: "tip", hidden: "" });
function hover(element, text) {
  element.addEventListener("pointermove", (event) => showTip(event, typeof text === "function" ? text(event) : text));
  element.addEventListener("pointerleave", hideTip);
  return element;
}
function showTip(event, text) {
  if (!text) return hideTip();
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}
const hideTip = () => { tip.hidden = true; };

// A panel across the page, or on one side of the pair of columns that the last such panel began.
function panel(id, title, { side = null, tag = "simulated", buttons = [] } = {}) {
  const body = h("div", {});
  const head = h("div", { class: "head" }, h("h2", {}, title), tag && h("span", { class: `tag ${tag === "host" ? "host" : ""}` }, tag),
    h("span", { class: "soft small note" }), h("span", { class: "space" }), h("div", { class: "buttons" }, buttons));
  const element = h("section", { class: "panel", id, "aria-label": title }, head, body);
  columnOf(side).append(element);
  return { element, body, note: head.querySelector(".note") };
}

function columnOf(side) {
  const all = document.querySelector(".views");
  if (!side) return all;
  if (!all.lastElementChild?.matches(".pair")) all.append(h("div", { class: "pair" }, h("div", { class: "column left" }), h("div", { class: "column right" })));
  return all.lastElementChild.querySelector(`.${side}`);
}

function stack(parts, total, names) {
  const shown = names.filter((name) => parts[name] > 0);
  return h("div", { class: "stack" }, shown.map((name) => hover(
    h("i", { style: `width:${(parts[name] / total) * 100}%;background:var(--${name})` }),
    `${WORDS[name]}: ${time(parts[name])}, ${share(parts[name] / total)}`)));
}
function legend(parts, total, names) {
  return h("div", { class: "legend" }, names.filter((name) => parts[name] / total >= 0.002).map((name) =>
    h("span", {}, h("i", { class: "swatch", style: `background:var(--${name})` }), `${WORDS[name]} `, h("b", {}, share(parts[name] / total)))));
}
function pairs(entries) {
  return h("dl", { class: "pairs" }, entries.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}
// Columns are [heading, kind]: numbers without a kind, "text" that gives way where room is scarce, "fixed" text, or
// "prose", which wraps.
const textClass = (kind) => (kind === "fixed" || kind === "prose" ? `text ${kind}` : kind ?? null);
function table(columns, rows) {
  const head = h("tr", {}, columns.map(([name, text]) => h("th", { class: textClass(text), scope: "col" }, name)));
  const body = rows.map(({ cells, pick, ...attributes }) => h("tr", { ...attributes, tabindex: pick ? 0 : null, onclick: pick ?? (() => {}),
    onkeydown: (event) => { if (pick && event.key === "Enter") pick(); } },
    cells.map((cell, i) => h("td", { class: textClass(columns[i][1]) }, cell))));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, body));
}
// A long name that gives way at its beginning: its end says more.
const tailed = (name) => h("span", { class: "tail", title: name }, h("bdi", {}, name));
// Bars below a cell's text: [share of the cell's width, colour] each.
const meter = (...bars) => h("span", { class: "meter" }, bars.filter(([part]) => part > 0).map(([part, name]) =>
  h("span", { class: "bar", style: `width:${part * 100}%;background:var(--${name})` })));
// Drawings are as wide as their panel, so that their text has the size of the page's.
const widthOf = (body) => Math.max(340, body.clientWidth);
// Ticks from nothing to a number of bytes, even in the unit that they are shown in.
function byteTicks(high, wanted) {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(high, 1)) / 10));
  return ticks(0, high / unit, wanted).map((value) => value * unit);
}
// "Nice" ticks between two values.
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= raw) ?? raw;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}
