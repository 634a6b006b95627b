"use strict";
// The searcher: which values it drew for each parameter in the course of the study, and where its newest draws are.

hw.views.searcher = {
  title: "Searcher",
  mount(root) {
    const note = hw.el("p", {class: "note", id: "draws"}), legend = hw.el("div"), charts = hw.el("div", {class: "slices"}), list = hw.el("div");
    root.append(note, legend, charts, hw.el("h2", {}, "The newest draws"), list);
    function update() {
      const {study} = hw, trials = study.trials.filter((trial) => trial && trial.replicate_of === null);
      const drawn = trials.filter((trial) => trial.draw !== null), newest = new Set(drawn.slice(-NEWEST));
      note.textContent = `${hw.counted(drawn.length, "trials")} drawn by the ${study.about.searcher} searcher, ${trials.length - drawn.length} enqueued by the user. `
        + `Each point is a trial; the ${Math.min(NEWEST, drawn.length)} newest draws are large. Click a point to see its trial.`;
      charts.replaceChildren(...study.about.parameters.map(() => hw.el("div", {class: "chart"})));
      study.about.parameters.forEach((name, index) => drawDraws(charts.children[index], study, name, trials, newest));
      const colors = hw.colors();
      legend.replaceChildren(hw.legend([{fill: colors.devices[0], stroke: colors.ink, text: "newest draws"}, {fill: colors.faint, text: "earlier draws"},
        ...(drawn.length < trials.length ? [{symbol: "square", fill: colors.devices[1], text: "enqueued by the user"}] : [])]));
      const columns = [{name: "trial", value: (trial) => trial.trial_id, link: (trial) => hw.trialLink(trial.trial_id)}, {name: "draw", value: (trial) => trial.draw},
        {name: "state", value: (trial) => trial.state}, ...study.about.parameters.map((name) => ({name, value: (trial) => trial.config[name]}))];
      list.replaceChildren(hw.table(columns, [...newest].reverse(), {caption: "The newest draws"}));
    }
    update();
    return {update};
  },
};

const NEWEST = 12;

function drawDraws(place, study, name, trials, newest) {
  const own = trials.filter((trial) => trial.config[name] !== undefined && trial.config[name] !== null), colors = hw.colors();
  if (!own.length) return place.replaceChildren(hw.el("p", {class: "empty"}, `No trial has ${name} yet.`));
  const scale = study.about.scales[name], isRange = scale !== "options", value = (trial) => isRange ? trial.config[name] : hw.number(trial.config[name]);
  const values = own.map(value), axis = isRange ? {type: scale, tickFormat: "~g", ticks: 5, nice: true, grid: true} : {type: "point", domain: d3.reverse(d3.sort(new Set(values))), padding: 0.5};
  const node = hw.draw(place, `Values of ${name} by trial`, () => {
    const at = isRange ? (scale === "log" ? d3.scaleLog() : d3.scaleLinear()).domain(d3.extent(values)).range([240, 0]) : d3.scalePoint(axis.domain, [0, 240]);
    const kept = hw.thinned(own, (trial) => [320 * trial.trial_id / trials.length, at(value(trial))], 4, 600), shown = new Set([...kept, ...own.filter((trial) => newest.has(trial))]);
    const points = [...shown], enqueued = points.filter((trial) => trial.draw === null), latest = points.filter((trial) => newest.has(trial));
    const channels = {x: "trial_id", y: value};
    return {
      height: 240, x: {label: "trial →", ticks: 5, tickFormat: "d"}, y: {label: `↑ ${name}`, ...axis},
      marks: [
        Plot.dot(points.filter((trial) => trial.draw !== null && !newest.has(trial)), {...channels, r: 2.6, fill: colors.faint}),
        Plot.dot(enqueued, {...channels, symbol: "square", r: 4, fill: colors.devices[1]}),
        Plot.dot(latest, {...channels, r: 5, fill: colors.devices[0], stroke: colors.ink}),
        Plot.tip(points, Plot.pointer({...channels, maxRadius: 15, fontSize: 12, title: (trial) => `trial ${trial.trial_id}: ${trial.draw === null ? "enqueued" : `draw ${trial.draw}`}\n\n${hw.configText(trial.config)}`})),
      ],
    };
  });
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.trial_id}); });
}
