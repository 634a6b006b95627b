"use strict";
// One trial: what became of it and why, its learning curve, and its configuration.

hw.views.trial = {
  title: null,
  needs: ["curves"],
  mount(root, study, turn) {
    const id = Number(hw.params.trial), stories = hw.turns(), outputs = hw.turns();
    if (!study.trials[id]) {
      root.replaceChildren(hw.el("p", {class: "problem"}, `There is no trial ${hw.params.trial}. Trials have the numbers 0 to ${study.trials.length - 1}.`));
      return {update: () => { if (hw.study.trials[id]) hw.show(); }};
    }
    const names = study.objectives.map((item) => item.name);
    let chosen = names.includes(hw.params.y) ? hw.params.y : names[0], seen = null;
    const title = hw.el("h2", {id: "trial"}), facts = hw.el("div"), used = hw.el("div"), curve = hw.el("div", {class: "chart"});
    const log = hw.el("div", {id: "story"}, hw.el("p", {class: "empty"}, "Loading the story …"));
    const stop = hw.el("div", {id: "stop"}, hw.controls() ? hw.stopButton(id, turn) : "");
    const output = hw.el("details", {id: "output", hidden: !hw.source.isLive, ontoggle: showOutput}, hw.el("summary", {}, "Output of the newest segment"), hw.el("div"));
    const step = (change, text) => hw.el("a", {href: hw.address({view: "trial", trial: id + change}), hidden: !study.trials[id + change]}, text);
    root.replaceChildren(
      hw.el("div", {class: "controls"}, step(-1, "← previous"), step(1, "next →"), hw.select("curve", names, chosen, (name) => { chosen = name; drawCurve(); })),
      title, hw.controls() ? stop : "", hw.el("div", {class: "grid"}, hw.el("div", {}, curve), hw.el("div", {}, facts, used)), hw.el("h3", {}, "What happened, and why"), log, output);

    function showOutput() {
      if (!output.open) return;
      const place = output.lastChild, show = (...nodes) => place.replaceChildren(...nodes);
      turn(outputs.next()(hw.source.log(id))).then((files) => {
        if (!files.length) return show(hw.el("p", {class: "empty"}, `There is no output. Only processes that the study starts write it; \`hwtune logs ${id}\` says more.`));
        show(...files.map(({name, text, is_whole}) => hw.el("div", {}, hw.el("p", {class: "note"}, is_whole ? name : `${name}, its end; \`hwtune logs ${id}\` prints all`),
          hw.el("pre", {tabindex: "0"}, text))));
        place.querySelectorAll("pre").forEach((node) => { node.scrollTop = node.scrollHeight; });
      }, (error) => show(hw.el("p", {class: "problem"}, error.message)));
    }

    function drawCurve() {
      const trial = hw.study.trials[id], item = study.objectives.find(({name}) => name === chosen);
      const row = hw.study.curves.get(id), place = 2 + names.indexOf(chosen), colors = hw.colors();
      if (!row) return curve.replaceChildren(hw.el("p", {class: "empty"}, "It has not reported yet."));
      const points = d3.zip(row[1], row[place]).filter(([, value]) => Number.isFinite(value));
      const levels = hw.study.about.levels.filter((level) => level <= Math.max(trial.target, trial.resource));
      hw.draw(curve, `${chosen} of trial ${id}`, () => ({
        height: 280, grid: true,
        x: {label: `${hw.study.about.unit} →`, domain: [0, Math.max(trial.target, trial.resource)], ticks: Math.min(trial.target, 8), tickFormat: "~g"},
        y: {label: `↑ ${hw.label(item)}, ${hw.better(item)}`, type: hw.isLog(points.map(([, value]) => value)) ? "log" : "linear", tickFormat: "~g", domain: aroundOne(points)},
        marks: [
          Plot.ruleX(levels, {stroke: colors.line, strokeWidth: 1.5}),
          Plot.text(levels, {x: (level) => level, text: (level) => `rung ${level}`, frameAnchor: "top", textAnchor: "end", dx: -4, dy: 4, fontSize: 10, fill: colors.faint}),
          Plot.line(points, {x: "0", y: "1", stroke: colors.devices[0], strokeWidth: 1.6}),
          Plot.dot(points, {x: "0", y: "1", r: points.length > 60 ? 1.5 : 3, fill: colors.devices[0]}),
          Plot.tip(points, Plot.pointerX({x: "0", y: "1", title: ([at, value]) => `${study.about.unit.replace(/s$/, "")} ${at}: ${hw.number(value)}`, fontSize: 12})),
        ],
      }));
    }

    function update() {
      const trial = hw.study.trials[id], {about} = hw.study, text = JSON.stringify(trial);
      if (text === seen) return;
      seen = text;
      const member = hw.study.members.has(id) ? ", on the front" : "";
      stop.hidden = ["completed", "stopped", "failed", "out-of-memory"].includes(trial.state);
      title.textContent = `Trial ${id}: ${trial.state}${member}`;
      const pairs = [
        ...study.objectives.map((item) => [about.units[item.name] === "B" ? item.name : hw.label(item), trial.objectives[item.name], about.units[item.name]]),
        ...Object.entries(trial.constraints ?? {}).filter(([name]) => !(name in trial.objectives)).map(([name, value]) => [name, value, about.units[name]]),
        [about.unit, `${trial.resource} of ${about.levels.at(-1)}`], ["devices", trial.devices], ["segments", trial.segments],
        ...(trial.max_per_device_batch === null ? [] : [["at most, per device and batch", hw.counted(trial.max_per_device_batch, "samples")]]),
        ...Object.entries(trial.config).filter(([name]) => name !== about.devices_key),
        ...Object.entries(trial.infeasible ?? {}).map(([name, by]) => [`${name} violates its bound by`, by, about.units[name]]),
        ...(trial.replicate_of === null ? [] : [["repeats trial", trial.replicate_of]]),
        ...(trial.failure ? [["failure", trial.failure]] : []),
      ];
      facts.replaceChildren(factList(pairs));
      drawCurve();
      showOutput();
      turn(stories.next()(hw.source.trial(id))).then((found) => { if (found) { showStory(log, found); used.replaceChildren(...usedBy(hw.study, found.segments)); } }, (error) => log.replaceChildren(hw.el("p", {class: "problem"}, error.message)));
    }
    update();
    return {update, redraw: drawCurve};
  },
};

// The part of the axis for a single value; undefined for several.
function aroundOne(points) {
  if (points.length !== 1) return undefined;
  const [[, value]] = points, half = Math.abs(value) / 10 || 1;
  return [value - half, value + half];
}

// A list of [name, value, unit?].
function factList(pairs) {
  return hw.el("dl", {}, pairs.flatMap(([name, value, unit]) => [hw.el("dt", {}, name),
    hw.el("dd", {title: typeof value === "number" ? String(value) : null, "data-fact": name}, hw.amount(value, unit))]));
}

// What the ended segments of a trial have taken, with start-ups and lost work.
function usedBy(study, rows) {
  const segments = rows.map((row) => study.segment(row)).filter((segment) => segment.end_s !== null);
  if (!segments.length) return [];
  const sum = (value) => d3.sum(segments, (segment) => value(segment) * segment.slots.length / segment.per_device), pairs = [];
  pairs.push(["device time", hw.duration(sum((segment) => segment.end_s - segment.start_s))]);
  hw.phases.forEach((name, index) => {
    const seconds = sum((segment) => segment.phases[index]);
    if (seconds >= 0.01) pairs.push([`of it ${name}`, hw.duration(seconds)]);
  });
  if (study.about.has_price) pairs.push(["cost", hw.dollars(d3.sum(segments, (segment) => segment.usd))]);
  return [hw.el("h3", {}, "What its segments took"), factList(pairs)];
}

// The text of `hwtune why`: two lines about the trial, a line per event with its time, and what follows from them.
function showStory(place, {entry, story}) {
  const lines = story.split("\n").slice(2), events = [], rest = [];
  for (const line of lines) {
    const found = /^ {2,}(\+.*?) {2}(\S.*)$/.exec(line);
    if (found) events.push([found[1], found[2]]);
    else if (line.trim()) rest.push(line.trim());
  }
  place.replaceChildren(
    hw.el("ol", {class: "story"}, events.map(([time, text]) => hw.el("li", {}, hw.el("time", {}, time), hw.el("span", {}, text)))),
    ...rest.map((line) => hw.el("p", {}, line)),
    ...(entry?.checkpoint ? [hw.el("p", {class: "note"}, "checkpoint: ", hw.el("code", {}, entry.checkpoint))] : []));
}
