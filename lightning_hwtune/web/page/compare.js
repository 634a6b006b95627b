"use strict";
// Two studies next to each other: their fronts in two common objectives, what each has used, and its best values.

hw.views.compare = {
  title: null,
  isServed: true,
  mount(root, study, turn) {
    const name = hw.params.with, place = hw.el("div", {class: "chart"}), legend = hw.el("div"), controls = hw.el("div", {class: "controls"});
    const list = hw.el("div", {}, hw.el("p", {class: "empty"}, `Loading ${name} …`)), note = hw.el("p", {class: "note"});
    root.replaceChildren(hw.el("h2", {}, `${study.about.study} and ${name}`), controls, place, legend, note, list);
    let other = null, chosen = null;

    async function load() {
      let found;
      while ((found = await turn(hw.source.of(name).study(["trials"]))).reading) await turn(hw.pause(300));
      other = new hw.Study(found);
      const theirs = other.axes.map((axis) => axis.name), names = study.axes.map((axis) => axis.name).filter((axis) => theirs.includes(axis));
      if (!names.length) {
        list.replaceChildren(hw.el("p", {class: "problem"}, "The two studies have no objective in common."));
        return;
      }
      chosen = {x: names[1] ?? names[0], y: names[0]};
      const choose = (change) => { Object.assign(chosen, change); update(); };
      controls.replaceChildren(hw.select("up", names, chosen.y, (y) => choose({y})), hw.select("across", names, chosen.x, (x) => choose({x})));
      update();
    }

    function update() {
      if (!chosen) return;
      const both = [hw.study, other];
      const far = drawBoth(place, legend, both, chosen);
      list.replaceChildren(comparison(both));
      note.textContent = "Fully trained trials; the lines join the best trade-offs of the two objectives" + (far ? `; ${hw.counted(far, "other trials")} outside of the picture.` : ".");
    }
    load().catch((error) => list.replaceChildren(hw.el("p", {class: "problem"}, error.message)));
    return {update};
  },
};

// Returns how many trials are outside of the picture, which shows the surroundings of both lines.
function drawBoth(place, legend, both, {x, y}) {
  const colors = hw.colors(), shown = both.map((study, index) => {
    const [across, up] = [x, y].map((name) => study.axes.find((axis) => axis.name === name));
    const full = study.trials.filter((trial) => trial && study.isFull(trial) && !study.isInfeasible(trial)
      && Number.isFinite(across.value(trial)) && Number.isFinite(up.value(trial)));
    const best = staircase(full, across, up), point = (trial) => ({study: study.about.study, trial, x: across.value(trial), y: up.value(trial)});
    return {color: colors.devices[index], symbol: hw.symbols[index], across, up, best: best.map(point), rest: full.filter((trial) => !best.includes(trial)).map(point)};
  });
  const all = shown.flatMap(({best, rest}) => [...best, ...rest]), [{across, up}] = shown;
  if (!all.length) {
    place.replaceChildren(hw.el("p", {class: "empty"}, "No trial is fully trained yet."));
    return 0;
  }
  const lines = shown.flatMap(({best}) => best), base = lines.length > 2 ? lines : all;
  const scales = ["x", "y"].map((axis) => scaleAround(base.map((one) => one[axis]), 0.3)), every = Math.ceil(all.length / 2000);
  const inside = (one) => ["x", "y"].every((axis, index) => one[axis] >= scales[index].domain[0] && one[axis] <= scales[index].domain[1]);
  const near = all.filter(inside);
  hw.draw(place, `${y} over ${x} of two studies`, (width) => ({
    height: Math.max(300, Math.min(520, width * 0.5)), grid: true,
    x: {...scales[0], label: `${hw.label(across)}, ${hw.better(across)} →`},
    y: {...scales[1], label: `↑ ${hw.label(up)}, ${hw.better(up)}`},
    marks: shown.flatMap(({color, symbol, best, rest}) => [
      Plot.dot(rest.filter((one, index) => index % every === 0 && inside(one)), {x: "x", y: "y", symbol, r: 3.5, stroke: color, strokeOpacity: 0.5}),
      Plot.line(best, {x: "x", y: "y", curve: "step-after", stroke: color, strokeWidth: 1.6}),
      Plot.dot(best, {x: "x", y: "y", symbol, r: 5.5, fill: color, stroke: colors.ink}),
    ]).concat(Plot.tip(near, Plot.pointer({x: "x", y: "y", maxRadius: 25, fontSize: 12, title: (one) =>
      `${one.study}, trial ${one.trial.trial_id}\n${up.name} ${hw.number(one.y)}\n${across.name} ${hw.number(one.x)}\n\n${hw.configText(one.trial.config)}`}))),
  }));
  legend.replaceChildren(hw.legend(shown.map(({color, symbol}, index) => ({symbol, fill: color, stroke: colors.ink, text: both[index].about.study}))));
  return all.length - near.length;
}

function comparison(both) {
  const rows = [
    ["state", ({status}) => status.state], ["trials", ({status}) => status.trials], ["fully trained", ({status}) => status.fully_trained],
    ["on the front", ({status}) => status.front_size], [`${both[0].about.unit} trained`, ({status}) => status.epochs_spent],
    ["time it ran", ({status}) => status.wall_s, hw.duration], ["device time", ({status}) => status.device_s, hw.duration], ["cost", ({status}) => status.cost_usd, hw.dollars],
    ...both[0].objectives.filter(({name}) => both[1].objectives.some((item) => item.name === name)).map(({name, mode}) =>
      [`best ${name} on the front`, (study) => d3[mode](study.front.front, (entry) => entry.objectives[name])]),
  ];
  const known = rows.filter(([, value]) => both.some((study) => value(study) !== null && value(study) !== undefined));
  const columns = [{name: "", value: ([name]) => name}, ...both.map((study) => ({name: study.about.study, value: ([, value]) => value(study) ?? null,
    text: ([, value, text]) => (text ?? hw.number)(value(study) ?? null)}))];
  return hw.table(columns, known, {caption: "Comparison"});
}
