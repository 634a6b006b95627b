"use strict";
// What each device did: a bar per segment, darker the higher the rung it resumed from, with the phases that were not training
// in their own colours.

hw.views.devices = {
  title: "Devices",
  needs: ["segments"],
  mount(root, study) {
    const spans = {"the whole study": Infinity, "the last hour": 3600, "the last 10 minutes": 600, "the last minute": 60};
    let chosen = "the whole study";
    const place = hw.el("div", {class: "chart"}), legend = hw.el("div"), note = hw.el("p", {class: "note"});
    root.replaceChildren(hw.el("div", {class: "controls"}, hw.select("show", Object.keys(spans), chosen, (name) => { chosen = name; update(); })), place, legend, note);
    function update() { drawDevices(place, legend, note, hw.study, spans[chosen]); }
    update();
    return {update};
  },
};

const BAD = ["error", "lost", "out-of-memory", "node-lost"];
const OPEN = "since the newest report";
hw.phases = ["start-up", "training", "saving", "waiting", "lost"];

// The phases of a segment in the sequence in which they are drawn: [name, from, to], in seconds of the study's clock.
function partsOf(segment, end) {
  const found = [];
  let at = segment.start_s;
  segment.phases.forEach((seconds, index) => {
    if (seconds > 0) found.push([hw.phases[index], at, Math.min(at + seconds, end)]);
    at = Math.min(at + seconds, end);
  });
  if (segment.end_s === null && at < end) found.push([OPEN, at, end]);
  return found;
}

function drawDevices(place, legend, note, study, span_s) {
  const {about} = study, colors = hw.colors(), segments = [...study.segments.values()];
  if (!segments.length) {
    place.replaceChildren(hw.el("p", {class: "empty"}, "No segment has started yet."));
    return;
  }
  const end = (segment) => segment.end_s ?? Math.max(study.clock_s, segment.start_s), last = d3.max(segments, end);
  const from = Math.max(last - span_s, 0), [unit, unit_s] = hw.timeUnit(last - from);
  const levels = [0, ...about.levels.slice(0, -1)], shade = (segment) => Math.min(d3.bisectRight(levels, segment.from) - 1, colors.bar.length - 1);
  const lanes = laneOf(segments, end), bars = [], seconds = new Map();
  for (const segment of segments) {
    const [x1, x2] = [Math.max(segment.start_s, from), end(segment)];
    if (x2 <= from) continue;
    const share = segment.slots.length / segment.per_device, lane = lanes.get(segment) ?? 0, height = 0.84 / segment.per_device;
    const parts = partsOf(segment, x2).filter(([, , to]) => to > from).map(([name, at, to]) => ({name, x1: Math.max(at, from) / unit_s, x2: to / unit_s}));
    for (const part of parts) seconds.set(part.name, (seconds.get(part.name) ?? 0) + (part.x2 - part.x1) * unit_s * share);
    for (const slot of segment.slots) {
      bars.push({segment, parts, x1: x1 / unit_s, x2: x2 / unit_s, y1: slot - 0.42 + lane * height, y2: slot - 0.42 + (lane + 1) * height});
    }
  }
  const nodes = new Map();  // the node of each device, where all its segments agree
  for (const {slots, node} of segments) for (const slot of slots) nodes.set(slot, nodes.has(slot) && nodes.get(slot) !== node ? null : node);
  const nameOf = (slot) => (nodes.get(slot) ?? null) !== null ? `node ${nodes.get(slot)}: ${slot}` : `${about.accelerator} ${slot}`, margin = Math.min(26 + 7 * d3.max([6, ...[...nodes.keys()].map((slot) => nameOf(slot).length)]), 160);
  const n_slots = Math.max(about.n_slots, d3.max(segments, (segment) => d3.max(segment.slots) ?? 0) + 1);
  const title = ({segment}) => [`trial ${segment.trial_id}, segment ${segment.number}: ${segment.outcome || "running"}`, `${hw.duration(end(segment) - segment.start_s)} in all`,
    ...partsOf(segment, end(segment)).filter(([, at, to]) => to - at >= 0.01).map(([name, at, to]) => `${name}: ${hw.duration(to - at)}`),
    `${about.unit} ${segment.from} to ${segment.to}`, ...(segment.node !== null ? [`node ${segment.node}`] : []), ...(segment.usd ? [hw.dollars(segment.usd)] : [])].join("\n");
  const inkOn = (name, level) => hw.isDark() === (!colors.phases[name] && level >= 2) ? "#101418" : "#ffffff";
  const fill = (bar, name) => colors.phases[name] ?? colors.bar[shade(bar.segment)];
  const node = hw.draw(place, `Segments on ${hw.counted(n_slots, "devices")}`, (width) => {
    const inner = width - margin - 24, seen = merged(bars, inner / ((last - from) / unit_s || 1));
    const largest = ({parts}) => d3.greatest(parts, (part) => part.x2 - part.x1), longest = (bar) => largest(bar)?.name, pixel = (last - from) / unit_s / inner;
    const others = seen.flatMap((bar) => bar.parts.filter((part) => part.name !== longest(bar) && part.x2 - part.x1 > pixel / 2).map((part) => ({...part, bar, y1: bar.y1, y2: bar.y2})));
    const wide = seen.filter((bar) => (bar.x2 - bar.x1) * unit_s / (last - from || 1) * inner > 8 * String(bar.segment.trial_id).length && bar.segment.per_device === 1);
    return {
      height: 70 + Math.min(n_slots, 64) * (n_slots > 16 ? 18 : 30), marginLeft: margin,
      x: {domain: [from / unit_s, last / unit_s], label: `time the study ran [${unit}] →`},
      y: {domain: [n_slots - 0.5, -0.5], label: null, ticks: d3.range(n_slots), tickFormat: nameOf, tickSize: 0},
      marks: [
        Plot.rect(seen, {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: (bar) => fill(bar, longest(bar)), fillOpacity: (bar) => longest(bar) === OPEN ? 0.5 : 1}),
        Plot.rect(others, {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: (part) => fill(part.bar, part.name), fillOpacity: (part) => part.name === OPEN ? 0.5 : 1}),
        Plot.rect(seen.filter((bar) => BAD.includes(bar.segment.outcome)), {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "none", stroke: colors.verdict.failed, strokeWidth: 2}),
        Plot.text(wide, {x: (bar) => (largest(bar).x1 + largest(bar).x2) / 2, y: (bar) => (bar.y1 + bar.y2) / 2, text: (bar) => String(bar.segment.trial_id), fontSize: 11,
          fill: (bar) => inkOn(longest(bar), shade(bar.segment))}),
        Plot.tip(seen, Plot.pointer({x: (bar) => (bar.x1 + bar.x2) / 2, y: (bar) => (bar.y1 + bar.y2) / 2, title, maxRadius: 60, fontSize: 12})),
      ],
    };
  });
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.segment.trial_id}); });
  const used = new Set(segments.map(shade)), word = about.unit.replace(/s$/, "");
  legend.replaceChildren(hw.legend([
    ...levels.slice(0, colors.bar.length).flatMap((level, index) => used.has(index) ? [{symbol: "bar", fill: colors.bar[index], text: level ? `resumed at ${word} ${level}` : "from scratch"}] : []),
    ...Object.entries(colors.phases).filter(([name]) => seconds.get(name)).map(([name, fill]) => ({symbol: "bar", fill, text: name})),
    ...(seconds.has(OPEN) ? [{symbol: "bar", fill: colors.bar[0], opacity: 0.5, text: `pale: ${OPEN}`}] : []),
    ...(segments.some((segment) => BAD.includes(segment.outcome)) ? [{symbol: "bar", stroke: colors.verdict.failed, text: "failed or lost segment"}] : []),
  ]));
  const whole = (last - from) * (about.n_devices ?? n_slots) || 1, percent = (part) => hw.percent(part / whole);
  const shares = [...hw.phases, OPEN].filter((name) => seconds.get(name)).map((name) => `${name} ${percent(seconds.get(name))}`).join(", ");
  note.textContent = `${hw.counted(segments.length, "segments")}; devices were busy ${percent(d3.sum(seconds.values()))} of the time: ${shares}. `
    + ["Numbers are trials.", ...(seconds.get("waiting") ? ["Waiting is for verdicts, other ranks and the release of devices."] : []),
      ...(seconds.get("lost") ? ["Lost is what came after the newest checkpoint of a segment that failed, was lost or was interrupted."] : [])].join(" ");
}

// Segments that share a device are drawn next to each other.
function laneOf(segments, end) {
  const lanes = new Map(), ends = new Map();
  for (const segment of d3.sort(segments.filter((one) => one.per_device > 1), (one) => one.start_s)) {
    const lane = d3.range(segment.per_device).find((part) => (ends.get(`${segment.slots[0]}/${part}`) ?? -1) <= segment.start_s) ?? 0;
    ends.set(`${segment.slots[0]}/${lane}`, end(segment));
    lanes.set(segment, lane);
  }
  return lanes;
}

// Bars that are narrower than a pixel are joined with the one before; of thousands of bars, those below two pixels.
function merged(bars, scale, pixels = 1) {
  const last = new Map(), kept = [];
  for (const bar of d3.sort(bars, (one) => one.x1)) {
    const before = last.get(bar.y1);
    if (before && (bar.x2 - before.x1) * scale < pixels && !BAD.includes(bar.segment.outcome)) {
      if ((bar.x1 - before.x2) * scale < 0.5) before.x2 = Math.max(before.x2, bar.x2);
      continue;
    }
    const own = {...bar};
    last.set(bar.y1, own);
    kept.push(own);
  }
  return kept.length > 3000 && pixels === 1 ? merged(kept, scale, 2) : kept;
}
