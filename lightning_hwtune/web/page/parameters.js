"use strict";
// The parameters: how much each one matters for an objective, and the values of the objective over it.

hw.views.parameters = {
  title: "Parameters",
  needs: ["curves"],
  mount(root, study, turn) {
    const names = study.objectives.map((item) => item.name);
    let chosen = names.includes(hw.params.y) ? hw.params.y : names[0], entries = null;
    const place = hw.el("div", {class: "chart"}), note = hw.el("p", {class: "note", id: "importance"}, "Computing the importance …");
    const slices = hw.el("div", {class: "slices"}), about = hw.el("p", {class: "note"});
    const two = hw.el("div", {class: "controls"}), contour = hw.el("div", {class: "chart"}), rank = hw.el("div", {class: "chart"}), legend = hw.el("div");
    const parallel = hw.el("div", {class: "chart"}), lines = hw.el("p", {class: "note"}), pair = {across: hw.params.across, up: hw.params.up};
    const again = hw.el("button", {type: "button", hidden: true, onclick: load}, "Compute again");
    root.replaceChildren(
      hw.el("div", {class: "controls"}, hw.select("objective", names, chosen, (name) => { chosen = name; draw(); drawSlices(); }), again),
      hw.el("h2", {}, "How much each parameter matters"), place, note, hw.el("h2", {}, "The objective over each parameter"), about, slices,
      hw.el("h2", {}, "Two parameters"), two, hw.el("div", {class: "grid"}, hw.el("div", {}, hw.el("h3", {}, "Contour: the mean rank of the trials near a place"), contour),
        hw.el("div", {}, hw.el("h3", {}, "Rank of each trial"), rank)), legend,
      hw.el("h2", {}, "All parameters"), parallel, lines);

    async function load() {
      again.disabled = true;
      try {
        entries = await turn(hw.source.importance());
        draw();
        drawSlices();
      } catch (error) {
        note.textContent = error.message;
      }
      again.disabled = false;
    }

    function draw() {
      const entry = entries?.find((item) => item.objective === chosen);
      if (!entry) return;
      note.textContent = [entry.note[0].toUpperCase() + entry.note.slice(1), entry.explained === null ? "" : `the model explains ${Math.round(Math.max(entry.explained, 0) * 100)} % of the variance of trials left out`]
        .filter(Boolean).join("; ") + "." + (entry.parameters.length ? " Bars: all effects of the parameter; strong colour: without interactions; lines: intervals of 80 %." : "");
      if (entry.parameters.length) drawImportance(place, entry);
      else place.replaceChildren();
    }

    function drawSlices() {
      const entry = entries?.find((item) => item.objective === chosen), level = entry?.rung ?? hw.study.about.levels[0];
      const order = entry?.parameters.length ? entry.parameters.map((row) => row.parameter) : hw.study.about.parameters;
      about.textContent = `Values at ${hw.study.about.unit.replace(/s$/, "")} ${level}, of every trial that reached it. Colour: the last verdict. Click a point to see its trial.`;
      const points = hw.rungPoints(hw.study, chosen, level);
      again.hidden = !hw.source.isLive || !entry || (!entry.parameters.length && points.length <= entry.trials);  // the same trials give the same answer
      const item = hw.study.objectives.find((one) => one.name === chosen);
      drawAllSlices(slices, hw.study, chosen, points, order);
      const [across, up] = ["across", "up"].map((place, index) => order.includes(pair[place]) ? pair[place] : order[index]);
      two.replaceChildren(...(order.length > 1 ? [["across", across], ["up", up]].map(([place, shown]) => hw.select(place, order, shown, (name) => { pair[place] = name; drawSlices(); })) : []));
      if (order.length > 1) hw.drawTwo(contour, rank, legend, hw.study, item, points, across, up);
      hw.drawParallel(parallel, lines, hw.study, item, points, order);
    }

    drawSlices();
    load();
    return {update: drawSlices};
  },
};

function drawImportance(place, {objective, parameters}) {
  const colors = hw.colors(), longest = d3.max(parameters, (row) => row.parameter.length);
  hw.draw(place, `Importance of each parameter for ${objective}`, (width) => ({
    height: 60 + 30 * parameters.length, marginLeft: Math.min(30 + 7 * longest, width * 0.4), marginTop: 10,
    x: {domain: [0, 1], label: `share of the variance of ${objective} →`, tickFormat: "%", grid: true, ticks: width < 500 ? 4 : 10},
    y: {domain: parameters.map((row) => row.parameter), label: null, tickSize: 0},
    marks: [
      Plot.barX(parameters, {x: "importance", y: "parameter", fill: colors.bar[0], insetTop: 3, insetBottom: 3}),
      Plot.barX(parameters, {x: "alone", y: "parameter", fill: colors.bar[2], insetTop: 3, insetBottom: 3}),
      Plot.ruleY(parameters, {x1: "low", x2: "high", y: "parameter", stroke: colors.ink, strokeWidth: 1.4}),
      Plot.tip(parameters, Plot.pointerY({x: "importance", y: "parameter", fontSize: 12, title: (row) =>
        `${row.parameter}: ${(row.importance * 100).toFixed(1)} %, between ${(row.low * 100).toFixed(0)} and ${(row.high * 100).toFixed(0)} %\nwithout interactions: ${(row.alone * 100).toFixed(1)} %`})),
    ],
  }));
}

function drawAllSlices(place, study, name, points, order) {
  const colors = hw.colors(), item = study.objectives.find((one) => one.name === name);
  if (!points.length) return place.replaceChildren(hw.el("p", {class: "empty"}, "No trial has reached it yet."));
  const values = points.map((point) => point.value), type = hw.isLog(values) ? "log" : "linear";
  const sorted = d3.sort(values), low = d3.quantile(sorted, item.mode === "min" ? 0 : 0.02), high = d3.quantile(sorted, item.mode === "min" ? 0.98 : 1);
  place.replaceChildren(...order.map(() => hw.el("div", {class: "chart"})));
  order.forEach((parameter, index) => {
    const own = points.filter((point) => point.trial.config[parameter] !== undefined && point.trial.config[parameter] !== null);
    const x = (point) => point.trial.config[parameter], isRange = study.about.scales[parameter] !== "options" && new Set(own.map(x)).size > 1;
    const axis = isRange ? hw.rangeAxis(study.about.scales[parameter], own.map(x)) : {type: "point", padding: 0.5};
    const across = axis.type === "point" ? (point) => hw.number(x(point)) : x;
    const domain = axis.type === "point" ? {domain: d3.sort(new Set(own.map(x)), (value) => typeof value === "number" ? value : String(value)).map(hw.number)} : {};
    const node = hw.draw(place.children[index], `${name} over ${parameter}`, (width) => {
      const range = [0, width], scale = axis.type === "point" ? d3.scalePoint(domain.domain, range) : (axis.type === "log" ? d3.scaleLog() : d3.scaleLinear()).domain(d3.extent(own, x)).range(range);
      const up = (type === "log" ? d3.scaleLog() : d3.scaleLinear()).domain([low, high]).range([240, 0]);
      const kept = hw.thinned(own, (point) => [scale(across(point)), up(point.value)], 4, 600);
      return {
        height: 240, inset: 7, x: {label: `${parameter} →`, ...axis, ...domain}, y: {label: `↑ ${hw.label(item)}`, type, domain: low < high ? [low, high] : undefined, clamp: true, tickFormat: hw.number, ticks: 5, grid: true},
        marks: [
          Plot.dot(kept, {x: across, y: "value", r: 3, fill: (point) => colors.verdict[point.verdict], fillOpacity: 0.65}),
          Plot.tip(kept, Plot.pointer({x: across, y: "value", maxRadius: 15, fontSize: 12, title: (point) => `trial ${point.trial.trial_id}: ${point.verdict}\n${parameter} ${hw.number(x(point))}\n${name} ${hw.number(point.value)}`})),
        ],
      };
    });
    node.classList.add("clickable");
    node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.trial.trial_id}); });
  });
}
