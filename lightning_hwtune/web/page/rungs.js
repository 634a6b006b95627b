"use strict";
// The rungs: learning curves coloured by the last verdict, and how many trials each rung judged.

const MOST_CURVES = 400;
const WORDS = ["completed", "promoted", "passed", "paused", "stopped", "ended early"];

hw.views.rungs = {
  title: "Rungs",
  needs: ["curves"],
  mount(root, study) {
    const names = study.objectives.map((item) => item.name);
    let chosen = names.includes(hw.params.y) ? hw.params.y : names[0];
    const place = hw.el("div", {class: "chart"}), legend = hw.el("div"), note = hw.el("p", {class: "note"}), list = hw.el("div");
    root.replaceChildren(hw.el("div", {class: "controls"}, hw.select("curves of", names, chosen, (name) => { chosen = name; update(); })),
      place, legend, note, hw.el("h2", {}, "Verdicts at each rung"), list);
    function update() {
      drawCurves(place, legend, note, hw.study, chosen);
      list.replaceChildren(rungTable(hw.study));
    }
    update();
    return {update};
  },
};

// The last word on a trial, which gives its colour.
function verdictOf(trial) {
  if (trial.state === "failed" || trial.state === "out-of-memory") return "failed";
  if (trial.state === "running" || trial.state === "stopped" || trial.state === "completed") return trial.state;
  const words = Object.values(trial.rungs);
  return words.length && words.at(-1) === "promoted" ? "promoted" : "paused";
}

function drawCurves(place, legend, note, study, name) {
  const colors = hw.colors(), {about} = study, item = study.objectives.find((one) => one.name === name);
  const column = 2 + study.objectives.indexOf(item), {levels, unit} = about;
  const drawable = study.trials.filter((trial) => trial && study.curves.has(trial.trial_id));
  if (!drawable.length) {
    place.replaceChildren(hw.el("p", {class: "empty"}, "No trial has reported values yet."));
    return;
  }
  // the trials that were trained furthest, and every so many-th of the others
  const ordered = d3.sort(drawable, (trial) => -trial.resource, (trial) => trial.trial_id);
  const far = ordered.slice(0, MOST_CURVES / 2), others = ordered.slice(MOST_CURVES / 2), every = Math.ceil(others.length / (MOST_CURVES / 2)) || 1;
  const kept = [...far, ...others.filter((_, index) => index % every === 0)];
  const points = kept.flatMap((trial) => {
    const row = study.curves.get(trial.trial_id), verdict = verdictOf(trial);
    return d3.zip(row[1], row[column]).filter(([, value]) => Number.isFinite(value)).map(([at, value]) => ({trial, at, value, verdict}));
  });
  // a promotion is an arrow at the rung from which the trial continued
  const ofTrial = d3.group(points, (point) => point.trial);
  const promotions = kept.flatMap((trial) => Object.entries(trial.rungs).filter(([, word]) => word === "promoted").map(([level]) =>
    ofTrial.get(trial)?.find((point) => point.at >= Number(level)))).filter(Boolean);
  const ends = kept.map((trial) => ofTrial.get(trial)?.at(-1)).filter(Boolean);
  const values = d3.sort(points, (point) => point.value).map((point) => point.value);
  const type = hw.isLog(values) ? "log" : "linear", cut = d3.quantile(values, item.mode === "min" ? 0.98 : 0.02);
  const range = points.length > 60 ? (item.mode === "min" ? [values[0], cut] : [cut, values.at(-1)]) : d3.extent(values);
  const stroke = ({verdict}) => colors.verdict[verdict], seen = new Set(points.map((point) => point.verdict));
  const node = hw.draw(place, `Learning curves of ${hw.counted(kept.length, "trials")}, ${name} over ${unit}`, (width) => ({
    height: Math.max(320, Math.min(540, width * 0.52)), grid: false,
    x: {label: `${unit} →`, type: levels.at(-1) / levels[0] >= 9 ? "log" : "linear", ticks: levels, tickFormat: "d",
      domain: [d3.min(points, (point) => point.at), levels.at(-1)]},
    y: {label: `↑ ${hw.label(item)}, ${hw.better(item)}`, type, domain: range, clamp: true, tickFormat: "~g", grid: true},
    marks: [
      Plot.ruleX(levels, {stroke: colors.line, strokeWidth: 1.5}),
      Plot.line(points, {x: "at", y: "value", z: (point) => point.trial.trial_id, stroke, strokeWidth: 1.2, strokeOpacity: kept.length > 150 ? 0.4 : 0.75}),
      Plot.dot(ends, {x: "at", y: "value", fill: stroke, r: 3}),
      Plot.dot(promotions, {x: "at", y: "value", symbol: "triangle", rotate: 90, r: 3.6, fill: colors.verdict.promoted, stroke: colors.paper, strokeWidth: 0.8}),
      Plot.tip(points, Plot.pointer({x: "at", y: "value", maxRadius: 20, fontSize: 12, title: ({trial, at, value, verdict}) =>
        `trial ${trial.trial_id}: ${verdict}\n${unit.replace(/s$/, "")} ${at}: ${hw.number(value)}\n${Object.entries(trial.rungs).map(([level, word]) => `rung ${level}: ${word}`).join("\n")}`})),
    ],
  }));
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.trial.trial_id}); });
  legend.replaceChildren(hw.legend([...Object.keys(colors.verdict).filter((word) => seen.has(word)).map((word) =>
    ({line: true, stroke: colors.verdict[word], text: word === "paused" ? "paused, not promoted" : word})),
    ...(promotions.length ? [{symbol: "arrow", fill: colors.verdict.promoted, text: "arrow: promoted at this rung"}] : [])]));
  note.textContent = kept.length < drawable.length
    ? `${kept.length} of ${hw.counted(drawable.length, "curves")}: the ${far.length} that were trained furthest, and every ${every}th of the others. Click a curve to see its trial.`
    : "Click a curve to see its trial.";
}

function rungTable(study) {
  const {levels} = study.about, rows = levels.map((level) => ({level, counts: {}, judged: 0}));
  for (const trial of study.trials) {
    if (!trial || trial.replicate_of !== null) continue;
    for (const [level, word] of Object.entries(trial.rungs)) {
      const row = rows.find((item) => item.level === Number(level));
      if (!row) continue;
      row.judged += 1;
      row.counts[word] = (row.counts[word] ?? 0) + 1;
    }
  }
  const words = WORDS.filter((word) => rows.some((row) => row.counts[word]));
  return hw.table([{name: "rung", value: (row) => row.level}, {name: "judged", value: (row) => row.judged},
    ...words.map((name) => ({name, value: (row) => row.counts[name] ?? 0}))], rows, {caption: "Verdicts at each rung"});
}
