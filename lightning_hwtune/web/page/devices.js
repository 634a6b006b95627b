"use strict";
// What each device did: a bar per segment, darker the higher the rung it resumed from; the pale part is not training.

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

const BAD = ["error", "lost", "out-of-memory"];

function drawDevices(place, legend, note, study, span_s) {
  const {about} = study, colors = hw.colors(), segments = [...study.segments.values()];
  if (!segments.length) {
    place.replaceChildren(hw.el("p", {class: "empty"}, "No segment has started yet."));
    return;
  }
  const end = (segment) => segment.end_s ?? Math.max(study.clock_s, segment.start_s), last = d3.max(segments, end);
  const from = Math.max(last - span_s, 0), [unit, unit_s] = hw.timeUnit(last - from);
  const levels = [0, ...about.levels.slice(0, -1)], shade = (segment) => Math.min(d3.bisectRight(levels, segment.from) - 1, colors.bar.length - 1);
  const lanes = laneOf(segments, end), bars = [];
  let busy = 0, training = 0;
  for (const segment of segments) {
    const [x1, x2] = [Math.max(segment.start_s, from), end(segment)];
    if (x2 <= from) continue;
    const share = segment.slots.length / segment.per_device;
    busy += (x2 - x1) * share;
    training += Math.min(segment.train_s, x2 - x1) * share;
    const begun = Math.min(Math.max(x2 - segment.train_s, x1), x2), lane = lanes.get(segment) ?? 0, height = 0.84 / segment.per_device;
    for (const slot of segment.slots) {
      bars.push({segment, x1: x1 / unit_s, x2: x2 / unit_s, begun: begun / unit_s, y1: slot - 0.42 + lane * height, y2: slot - 0.42 + (lane + 1) * height});
    }
  }
  const nodes = new Map();  // the node of each device, where all its segments agree
  for (const {slots, node} of segments) for (const slot of slots) nodes.set(slot, nodes.has(slot) && nodes.get(slot) !== node ? "" : node);
  const nameOf = (slot) => nodes.get(slot) ? `${nodes.get(slot)}: ${slot}` : `${about.accelerator} ${slot}`, margin = Math.min(26 + 7 * d3.max([6, ...[...nodes.keys()].map((slot) => nameOf(slot).length)]), 160);
  const n_slots = Math.max(about.n_slots, d3.max(segments, (segment) => d3.max(segment.slots) ?? 0) + 1);
  const title = ({segment}) => [`trial ${segment.trial_id}, segment ${segment.number}`, `${segment.outcome || "running"}, ${hw.duration(end(segment) - segment.start_s)}, of which ${hw.duration(segment.train_s)} training`,
    `${about.unit} ${segment.from} to ${segment.to}`, ...(segment.node ? [`node ${segment.node}`] : []), ...(segment.usd ? [hw.dollars(segment.usd)] : [])].join("\n");
  const node = hw.draw(place, `Segments on ${hw.counted(n_slots, "devices")}`, (width) => {
    const inner = width - margin - 24, seen = merged(bars, inner / ((last - from) / unit_s || 1));
    const wide = seen.filter((bar) => (bar.x2 - bar.x1) * unit_s / (last - from || 1) * inner > 8 * String(bar.segment.trial_id).length && bar.segment.per_device === 1);
    return {
      height: 70 + Math.min(n_slots, 64) * (n_slots > 16 ? 18 : 30), marginLeft: margin,
      x: {domain: [from / unit_s, last / unit_s], label: `time the study ran [${unit}] →`},
      y: {domain: [n_slots - 0.5, -0.5], label: null, ticks: d3.range(n_slots), tickFormat: nameOf, tickSize: 0},
      marks: [
        Plot.rect(seen, {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: colors.start}),
        Plot.rect(seen, {x1: "begun", x2: "x2", y1: "y1", y2: "y2", fill: (bar) => colors.bar[shade(bar.segment)], fillOpacity: (bar) => bar.segment.end_s === null ? 0.65 : 1}),
        Plot.rect(seen.filter((bar) => BAD.includes(bar.segment.outcome)), {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "none", stroke: colors.verdict.failed, strokeWidth: 2}),
        Plot.text(wide, {x: (bar) => (bar.x1 + bar.x2) / 2, y: (bar) => (bar.y1 + bar.y2) / 2, text: (bar) => String(bar.segment.trial_id), fontSize: 11,
          fill: (bar) => (shade(bar.segment) >= 2) !== hw.isDark() ? "#ffffff" : hw.isDark() && shade(bar.segment) < 2 ? "#ffffff" : "#101418"}),
        Plot.tip(seen, Plot.pointer({x: (bar) => (bar.x1 + bar.x2) / 2, y: (bar) => (bar.y1 + bar.y2) / 2, title, maxRadius: 60, fontSize: 12})),
      ],
    };
  });
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.segment.trial_id}); });
  const used = new Set(segments.map(shade)), word = about.unit.replace(/s$/, "");
  legend.replaceChildren(hw.legend([
    ...levels.slice(0, colors.bar.length).flatMap((level, index) => used.has(index) ? [{symbol: "bar", fill: colors.bar[index], text: level ? `resumed at ${word} ${level}` : "from scratch"}] : []),
    {symbol: "bar", fill: colors.start, text: "start-up, saving, waiting"},
    ...(segments.some((segment) => BAD.includes(segment.outcome)) ? [{symbol: "bar", stroke: colors.verdict.failed, text: "failed or lost"}] : []),
  ]));
  const whole = (last - from) * n_slots || 1, percent = (part) => `${Math.round(part / whole * 100)} %`;
  note.textContent = `${hw.counted(segments.length, "segments")}; devices were busy ${percent(busy)} of the time, and trained ${percent(training)} of it. Numbers are trials.`;
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

// Of bars that are narrower than a pixel, one per pixel and device is drawn; of thousands, one per two pixels.
function merged(bars, scale, pixels = 1) {
  const last = new Map(), kept = [];
  for (const bar of d3.sort(bars, (one) => one.x1)) {
    const before = last.get(bar.y1);
    if (before && (bar.x2 - before.x1) * scale < pixels && !BAD.includes(bar.segment.outcome)) continue;
    last.set(bar.y1, bar);
    kept.push(bar);
  }
  return kept.length > 3000 && pixels === 1 ? merged(kept, scale, 2) : kept;
}
