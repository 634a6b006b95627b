"use strict";
// The searcher: which values it drew for each parameter in the course of the study, where its newest draws are, and what a
// prior has learned.

hw.views.searcher = {
  title: "Searcher",
  mount(root, begun, turn) {
    const prior = hw.el("section", {id: "prior", hidden: !begun.about.has_prior}), note = hw.el("p", {class: "note", id: "draws"}), legend = hw.el("div"), charts = hw.el("div", {class: "slices"}), list = hw.el("div");
    root.append(note, legend, charts, hw.el("h2", {}, "The newest draws"), list, prior);
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
    if (begun.about.has_prior) showPrior(prior, turn);
    return {update};
  },
};

// What the prior has learned, and the weight that the study gives to it by now: as `hwtune prior show` prints it.
function showPrior(place, turn) {
  const about = hw.el("div"), again = hw.el("button", {type: "button", hidden: !hw.source.isLive, onclick: load}, "Compute again");
  place.append(hw.el("h2", {}, "The prior, from earlier studies"), about, again);
  async function load() {
    again.disabled = true;
    try {
      const found = await turn(hw.source.prior()), percent = (share) => `${Math.round(share * 100)} %`;
      const weights = Object.entries(found.trust).map(([objective, weight]) => ({objective, weight}));
      const draws = found.draws.length ? [...new Set(found.draws.flatMap(Object.keys))].map((name) => ({name, value: (row) => row[name]})) : [];
      about.replaceChildren(
        hw.el("p", {}, `It has learned ${found.parameters.learned.join(", ")} from earlier trials`
          + (found.parameters.random.length ? `; ${found.parameters.random.join(", ")} drawn at random` : "")
          + `. ${percent(found.uniform_share)} of the draws are uniform. Of the others, ${percent(found.own_share)} come from TPE, which learns from this study.`
          + (found.is_useless ? " The earlier results are too few, or differ too little, to learn from." : "")),
        hw.table([{name: "objective", value: (row) => row.objective}, {name: "weight of the prior, from 0 to 1", value: (row) => row.weight}], weights, {caption: "Weights of the prior"}),
        hw.el("p", {class: "note"}, "Earlier studies, their trials, and how many of these are in the search space:"),
        hw.table(["task", "points", "used"].map((name) => ({name, value: (row) => row[name]})), found.tasks, {caption: "Earlier studies"}),
        ...(draws.length ? [hw.el("p", {class: "note"}, "Its next draws, with expected scores: 0 is the median of the earlier trials, lower is better."), hw.table(draws, found.draws, {caption: "The next draws"})] : []));
    } catch (error) {
      about.replaceChildren(hw.el("p", {class: "problem"}, error.message));
    }
    again.disabled = false;
  }
  load();
}

const NEWEST = 12;

function drawDraws(place, study, name, trials, newest) {
  const own = trials.filter((trial) => trial.config[name] !== undefined && trial.config[name] !== null), colors = hw.colors();
  if (!own.length) return place.replaceChildren(hw.el("p", {class: "empty"}, `No trial has ${name} yet.`));
  const scale = study.about.scales[name], isRange = scale !== "options", value = (trial) => isRange ? trial.config[name] : hw.number(trial.config[name]);
  const values = own.map(value), axis = isRange && new Set(values).size > 1 ? {...hw.rangeAxis(scale, values), grid: true} : {type: "point", domain: d3.reverse(d3.sort(new Set(values))), tickFormat: hw.number, padding: 0.5};
  const node = hw.draw(place, `Values of ${name} by trial`, () => {
    const at = isRange ? (scale === "log" ? d3.scaleLog() : d3.scaleLinear()).domain(d3.extent(values)).range([240, 0]) : d3.scalePoint(axis.domain, [0, 240]);
    const kept = hw.thinned(own, (trial) => [320 * trial.trial_id / trials.length, at(value(trial))], 4, 600), shown = new Set([...kept, ...own.filter((trial) => newest.has(trial))]);
    const points = [...shown], enqueued = points.filter((trial) => trial.draw === null), latest = points.filter((trial) => newest.has(trial));
    const channels = {x: "trial_id", y: value};
    return {
      height: 240, x: {label: "trial →", ticks: 5, tickFormat: "d"}, y: {label: `↑ ${name}`, labelAnchor: "top", ...axis},
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
