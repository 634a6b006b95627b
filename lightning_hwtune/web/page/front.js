"use strict";
// The front: two objectives, the best trade-offs as a staircase, the recommended trial, and the front as a table.

hw.views.front = {
  title: "Front",
  mount(root, study) {
    const axes = study.axes, names = axes.map((axis) => axis.name);
    const chosen = {
      x: names.includes(hw.params.x) ? hw.params.x : names[1] ?? names[0],
      y: names.includes(hw.params.y) ? hw.params.y : names[0],
      all: hw.params.all === "1",
      color: names.includes(hw.params.color) ? hw.params.color : DEVICES,
    };
    const choose = (change) => { Object.assign(chosen, change); update(); };
    const controls = hw.el("div", {class: "controls"},
      hw.select("up", names, chosen.y, (y) => choose({y})),
      hw.select("across", names, chosen.x, (x) => choose({x})),
      hw.select("colour", [DEVICES, ...names], chosen.color, (color) => choose({color})),
      hw.checkbox("show all trials", chosen.all, (all) => choose({all})));
    const place = hw.el("div", {class: "chart"}), legend = hw.el("div"), note = hw.el("p", {class: "note"}), list = hw.el("div");
    const advice = hw.el("p", {id: "advice"});
    root.replaceChildren(controls, place, legend, note, hw.el("h2", {}, "The front"), advice, list);

    function update() {
      const x = axes.find((axis) => axis.name === chosen.x), y = axes.find((axis) => axis.name === chosen.y);
      drawFront(place, legend, note, hw.study, x, y, chosen.all, axes.find((axis) => axis.name === chosen.color));
      const {front, recommended} = hw.study.front;
      advice.replaceChildren(...(recommended
        ? ["Recommended: trial ", hw.trialLink(recommended.trial_id), `, because ${recommended.reason}.`]
        : ["No trial is fully trained yet."]));
      list.replaceChildren(front.length ? hw.table(frontColumns(hw.study), front,
        {caption: "The front", member: (entry) => recommended && entry.trial_id === recommended.trial_id}) : "");
    }
    update();
    return {update};
  },
};

function frontColumns(study) {
  const {about, front} = study;
  const columns = [{name: "trial", value: (entry) => entry.trial_id, link: (entry) => hw.trialLink(entry.trial_id)}];
  for (const {name} of about.objectives) columns.push({name, value: (entry) => entry.objectives[name]});
  if (front.front.some((entry) => "probability" in entry)) {
    columns.push({name: "probability", title: "how likely it is on the front in spite of the noise of measured times",
      value: (entry) => entry.probability, text: (entry) => `${Math.round(entry.probability * 100)} %`});
  }
  columns.push({name: "devices", value: (entry) => entry.devices});
  for (const name of about.parameters.filter((name) => name !== about.devices_key)) {
    columns.push({name, value: (entry) => entry.config[name]});
  }
  return columns;
}

const DEVICES = "number of devices";

// `third`: the quantity that the colours show, by rank among fully trained trials; undefined for the number of devices.
function drawFront(place, legend, note, study, x, y, isWide, third) {
  const colors = hw.colors(), {members, front} = study;
  const has = (trial) => trial.replicate_of === null && Number.isFinite(x.value(trial)) && Number.isFinite(y.value(trial));
  const shown = study.trials.filter(has);
  const full = shown.filter((trial) => study.isFull(trial)), feasible = full.filter((trial) => !study.isInfeasible(trial));
  const partial = shown.filter((trial) => !study.isFull(trial));
  const on = full.filter((trial) => members.has(trial.trial_id)), off = feasible.filter((trial) => !members.has(trial.trial_id));
  const base = isWide || full.length < 2 ? shown : on.length > 2 ? on : full;
  if (!base.length) {
    place.replaceChildren(hw.el("p", {class: "empty"}, "No trial has reported values yet."));
    legend.replaceChildren();
    note.textContent = "";
    return;
  }
  const scales = [x, y].map((axis) => scaleAround(base.map(axis.value), isWide ? 0.06 : 0.3));
  const inside = (trial) => [x, y].every((axis, index) => axis.value(trial) >= scales[index].domain[0] && axis.value(trial) <= scales[index].domain[1]);
  const near = partial.filter(inside), seen = off.filter(inside), counts = d3.sort(new Set(full.map((trial) => trial.devices)));
  const ranked = third ? d3.sort(full.filter((trial) => Number.isFinite(third.value(trial))), (trial) => third.mode === "min" ? third.value(trial) : -third.value(trial)) : [];
  const shares = new Map(ranked.map((trial, index) => [trial, ranked.length > 1 ? index / (ranked.length - 1) : 0]));
  const color = (trial) => third ? hw.rankColor(shares.get(trial) ?? 1) : colors.devices[counts.indexOf(trial.devices) % colors.devices.length];
  const symbol = (trial) => hw.symbols[counts.indexOf(trial.devices) % hw.symbols.length];
  const bad = full.filter((trial) => study.isInfeasible(trial) && inside(trial)), advised = on.filter((trial) => trial.trial_id === front.recommended?.trial_id);
  const stairs = staircase(feasible, x, y).filter(inside), channels = {x: x.value, y: y.value};
  const title = (trial) => [`trial ${trial.trial_id}: ${trial.state}, ${trial.resource} of ${hw.counted(study.about.levels.at(-1), study.about.unit)}`,
    ...study.objectives.map((item) => `${item.name} ${hw.number(trial.objectives[item.name])}`),
    hw.counted(trial.devices, "devices"), "", hw.configText(trial.config)].join("\n");
  // where a bound is violated: a shaded part of the picture, from a dashed line to the edge
  const violated = [x, y].flatMap((axis, index) => [[axis.at_most, 1, "at most"], [axis.at_least, 0, "at least"]].map(([bound, edge, words]) => ({axis, index, bound, edge, words})))
    .filter(({bound}) => bound !== null && bound !== undefined).flatMap(({axis, index, bound, edge, words}) => {
      const [low, high] = scales[index].domain, from = Math.min(Math.max(bound, low), high), to = edge ? high : low, [one, two] = index ? ["y1", "y2"] : ["x1", "x2"];
      if (from === to) return [];
      const rule = bound > low && bound < high ? [(index ? Plot.ruleY : Plot.ruleX)([bound], {strokeDasharray: "4 3", strokeOpacity: 0.6})] : [];
      return [{text: `${axis.name} violates its bound of ${words} ${hw.amount(bound, study.about.units[axis.name])}`,
        marks: [Plot.rect([0], {[one]: from, [two]: to, fill: colors.verdict.failed, fillOpacity: 0.09, ariaLabel: () => "violated"}), ...rule]}];
    });
  const node = hw.draw(place, `${y.name} over ${x.name}: ${hw.counted(on.length, "trials")} on the front`, (width) => {
    const height = Math.max(300, Math.min(560, width * 0.56)), at = scales.map((scale, index) =>
      (scale.type === "log" ? d3.scaleLog() : d3.scaleLinear()).domain(scale.domain).range(index ? [height, 0] : [0, width]));
    const where = (trial) => [at[0](x.value(trial)), at[1](y.value(trial))];
    const faint = hw.thinned(near, where), hollow = hw.thinned(seen, where, 3), named = withRoom([...advised, ...on.filter((trial) => !advised.includes(trial))], where);
    return {
      height, grid: true, insetTop: 6,
      x: {...scales[0], label: `${hw.label(x)}, ${hw.better(x)} →`},
      y: {...scales[1], label: `↑ ${hw.label(y)}, ${hw.better(y)}`},
      marks: [
        Plot.dot(faint, {...channels, r: 2.2, fill: colors.faint, fillOpacity: 0.7}),
        ...violated.flatMap(({marks}) => marks),
        Plot.line(stairs, {...channels, curve: "step-after", stroke: colors.ink, strokeOpacity: 0.55, strokeWidth: 1.3}),
        Plot.dot(bad, {...channels, symbol: "times", stroke: colors.ink, strokeOpacity: 0.7, r: 4}),
        Plot.dot(hollow, {...channels, r: 4.5, symbol, stroke: color, strokeOpacity: 0.75, strokeWidth: 1.4}),
        Plot.dot(on, {...channels, r: 6.5, symbol, fill: color, stroke: colors.ink, fillOpacity: (trial) => members.get(trial.trial_id).within_noise ? 0.35 : 1}),
        Plot.dot(advised, {...channels, r: 12, stroke: colors.ink, strokeWidth: 1.6}),
        Plot.text(named, {...channels, text: (trial) => String(trial.trial_id), dx: 11, dy: -11, textAnchor: "start", fill: colors.ink, stroke: colors.paper, strokeWidth: 4}),
        Plot.tip([...faint, ...hollow, ...bad, ...on], Plot.pointer({...channels, title, maxRadius: 25, fontSize: 12, lineWidth: 28})),
      ],
    };
  });
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.trial_id}); });
  legend.replaceChildren(hw.legend([
    ...counts.map((count, index) => ({count, index})).filter(({count}) => on.some((trial) => trial.devices === count)).map(({count, index}) => ({symbol: hw.symbols[index % 6], fill: third ? colors.faint : colors.devices[index % 6], stroke: colors.ink, text: `front, ${hw.counted(count, "devices")}`})),
    ...(seen.length ? [{stroke: colors.devices[0], text: "fully trained, not on the front"}] : []),
    ...(on.some((trial) => members.get(trial.trial_id).within_noise) ? [{fill: colors.faint, stroke: colors.ink, text: "pale: on the front within noise only"}] : []),
    ...(bad.length ? [{symbol: "times", stroke: colors.ink, text: "violates a bound"}] : []),
    ...violated.map(({text}) => ({symbol: "bar", fill: colors.verdict.failed, opacity: 0.25, text: `shaded: ${text}`})),
    ...(near.length ? [{fill: colors.faint, text: "partly trained"}] : []),
    ...(advised.length ? [{stroke: colors.ink, text: "ring: recommended"}] : []),
    ...(third ? [[0, `best ${third.name}`], [0.5, "median"], [1, "worst"]].map(([share, text]) => ({symbol: "bar", fill: hw.rankColor(share), text})) : []),
  ]));
  const far = shown.filter((trial) => !inside(trial)).length;
  note.textContent = `${hw.counted(on.length, "trials")} on the front of ${hw.counted(full.length, "fully trained trials")}` +
    (far ? `; ${hw.counted(far, "other trials")} outside of the picture` : "") +
    (study.objectives.length > 2 ? `; the line joins the best trade-offs of ${x.name} and ${y.name} alone` : "") + ". Click a point to see its trial." + toleranceText([x, y]);
}

// The scale of an axis that shows these values, with some room on both sides.
function scaleAround(values, room) {
  const type = hw.isLog(values) ? "log" : "linear";
  let [low, high] = d3.extent(values);
  const gap = type === "log" ? (high / low) ** 0.15 : (high - low || Math.abs(high) || 1) * room;
  [low, high] = type === "log" ? [low / gap, high * gap] : [low - gap, high + gap];
  if (type === "linear" && values.every((value) => value >= 0)) low = Math.max(low, 0);
  return {type, domain: [low, high], tickFormat: type === "log" ? "~g" : undefined};
}

// The trials whose number has room to the right of and above its point.
function withRoom(trials, where) {
  const taken = [];
  return trials.filter((trial) => {
    const [x, y] = where(trial), width = 7 * String(trial.trial_id).length + 4;
    const isFree = taken.every((one) => Math.abs(one.y - y) > 13 || x + width < one.x || one.x + one.width < x);
    if (isFree) taken.push({x, y, width});
    return isFree;
  });
}

// Which differences count as none; see `resolution`.
function toleranceText(axes) {
  const found = axes.filter((axis) => axis.resolution > 0).map((axis) => `${axis.name} ${axis.is_relative ? `${hw.number(axis.resolution * 100)} %` : hw.number(axis.resolution)}`);
  return found.length ? ` Values that are closer than the tolerance count as equal: ${found.join(", ")}.` : "";
}

// The best trade-offs of two quantities, best across first.
function staircase(trials, x, y) {
  const loss = (axis, trial) => axis.mode === "min" ? axis.value(trial) : -axis.value(trial);
  let best = Infinity;
  return d3.sort(trials, (trial) => loss(x, trial), (trial) => loss(y, trial)).filter((trial) => {
    const isBetter = loss(y, trial) < best;
    best = Math.min(best, loss(y, trial));
    return isBetter;
  });
}
