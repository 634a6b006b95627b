"use strict";
// An objective over two parameters (a contour of smoothed values, and the rank of each trial), and over all of them at
// once (parallel coordinates). Colours go from the best value to the worst one.

const MOST_LINES = 300, GRID = 28, tickText = d3.format(".3~g");

// The reports of an objective at a rung, by all trials that reached it: {trial, value, share}; share 0 is the best value.
hw.rungPoints = (study, name, level) => {
  const column = 2 + study.objectives.findIndex((item) => item.name === name), item = study.objectives[column - 2], points = [];
  for (const trial of study.trials) {
    const row = trial && trial.replicate_of === null ? study.curves.get(trial.trial_id) : null;
    const index = row ? row[1].findIndex((at) => at >= level) : -1, value = index >= 0 ? row[column][index] : NaN;
    if (Number.isFinite(value)) points.push({trial, value, verdict: verdictOf(trial)});
  }
  const order = d3.sort(points, (point) => item.mode === "min" ? point.value : -point.value);
  order.forEach((point, index) => { point.share = order.length > 1 ? index / (order.length - 1) : 0; });
  return points;
};

hw.rankColor = (share) => d3.interpolateViridis(hw.isDark() ? 0.95 - 0.75 * share : 0.05 + 0.85 * share);
hw.rankLegend = (name) => hw.legend([[0, `best ${name}`], [0.5, "median"], [1, "worst"]].map(([share, text]) => ({symbol: "bar", fill: hw.rankColor(share), text})));

// How a parameter is placed between 0 and 1, and the values that its axis names.
function unitAxis(study, parameter, values) {
  const scale = study.about.scales[parameter];
  if (scale === "options") {
    const options = d3.sort(new Set(values.map((value) => hw.number(value))), (text) => Number.isNaN(Number(text)) ? text : Number(text));
    const at = (value) => options.length > 1 ? options.indexOf(hw.number(value)) / (options.length - 1) : 0.5;
    return {at, ticks: options.map((text) => ({text, at: options.length > 1 ? options.indexOf(text) / (options.length - 1) : 0.5}))};
  }
  const [low, high] = d3.extent(values), map = (scale === "log" && low > 0 ? d3.scaleLog() : d3.scaleLinear()).domain([low, high]).range([0, 1]);
  const at = (value) => low < high ? map(value) : 0.5;
  const shares = [0, 0.25, 0.5, 0.75, 1], whole = values.every(Number.isInteger) ? [...new Set(shares.map((share) => Math.round(map.invert(share))))] : null;
  const ticks = whole?.map((value) => ({at: map(value), text: hw.number(value)})) ?? shares.map((share) => ({at: share, text: tickText(map.invert(share))}));
  const named = low < high ? ticks : [{at: 0.5, text: hw.number(low)}];
  return {at, ticks: named};
}

const hasValue = (trial, parameter) => trial.config[parameter] !== undefined && trial.config[parameter] !== null;

// Draws both pictures of two parameters. Places are shares of the axes, so that any scale and options work alike.
hw.drawTwo = (contour, rank, legend, study, item, points, across, up) => {
  const own = points.filter(({trial}) => hasValue(trial, across) && hasValue(trial, up)), colors = hw.colors();
  if (own.length < 3) {
    contour.replaceChildren(hw.el("p", {class: "empty"}, "Too few trials have reached it yet."));
    rank.replaceChildren();
    legend.replaceChildren();
    return;
  }
  const axes = [across, up].map((name) => unitAxis(study, name, own.map(({trial}) => trial.config[name])));
  const placed = own.map((point) => ({...point, x: axes[0].at(point.trial.config[across]), y: axes[1].at(point.trial.config[up])}));
  const scale = ({ticks}, label) => ({domain: [-0.04, 1.04], label, ticks: ticks.map((tick) => tick.at),
    tickFormat: (share) => ticks.find((tick) => tick.at === share)?.text ?? ""});
  const title = (point) => `trial ${point.trial.trial_id}\n${across} ${hw.number(point.trial.config[across])}\n${up} ${hw.number(point.trial.config[up])}\n${item.name} ${hw.number(point.value)}`;
  const draw = (place, label, marks) => {
    const node = hw.draw(place, label, (width) => ({
      height: Math.max(280, Math.min(380, width * 0.75)), marginLeft: 66,
      x: {...scale(axes[0], `${across} →`), ...(width < 420 && {ticks: axes[0].ticks.filter((_, index) => index % 2 === 0).map((tick) => tick.at)})},
      y: scale(axes[1], `↑ ${up}`), marks: marks(width),
    }));
    node.classList.add("clickable");
    node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.trial.trial_id}); });
  };
  const kept = hw.thinned(placed, ({x, y}) => [500 * x, 350 * y], 5, 1000), grid = smoothed(kept);
  const tip = Plot.tip(kept, Plot.pointer({x: "x", y: "y", title, maxRadius: 15, fontSize: 12}));
  draw(contour, `${item.name} over ${across} and ${up}, smoothed`, () => [
    Plot.rect(grid, {x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: (cell) => hw.rankColor(cell.share), shapeRendering: "crispEdges"}),
    Plot.dot(kept, {x: "x", y: "y", r: 2.2, fill: "#ffffff", stroke: "#101418", strokeWidth: 0.6}), tip]);
  draw(rank, `Rank of the ${item.name} of each trial over ${across} and ${up}`, () => [
    Plot.dot(d3.sort(kept, (point) => -point.share), {x: "x", y: "y", r: 4.5, fill: (point) => hw.rankColor(point.share), stroke: colors.line, strokeWidth: 0.7}), tip]);
  legend.replaceChildren(hw.rankLegend(item.name));
};

// The mean rank near each cell of a grid, with weights that fall with the distance (Nadaraya and Watson, 1964). Cells
// that are far from all trials are left out.
function smoothed(points, width = 0.09) {
  const cells = [], side = 1.08 / GRID;
  for (let i = 0; i < GRID; i += 1) {
    for (let j = 0; j < GRID; j += 1) {
      const x = -0.04 + (i + 0.5) * side, y = -0.04 + (j + 0.5) * side;
      let all = 0, sum = 0, near = Infinity;
      for (const point of points) {
        const distance = (point.x - x) ** 2 + (point.y - y) ** 2, weight = Math.exp(-distance / (2 * width * width));
        all += weight;
        sum += weight * point.share;
        near = Math.min(near, distance);
      }
      if (near < 0.2 ** 2 && all > 0) cells.push({x1: x - side / 2, x2: x + side / 2, y1: y - side / 2, y2: y + side / 2, share: sum / all});
    }
  }
  return cells;
}

// One line per trial through its value of each parameter and of the objective; the best trials are drawn last.
hw.drawParallel = (place, note, study, item, points, parameters) => {
  if (points.length < 2) return place.replaceChildren(hw.el("p", {class: "empty"}, "Too few trials have reached it yet."));
  const ordered = d3.sort(points, (point) => point.share), best = ordered.slice(0, MOST_LINES / 2), others = ordered.slice(MOST_LINES / 2);
  const every = Math.ceil(others.length / (MOST_LINES / 2)) || 1, kept = [...best, ...others.filter((_, index) => index % every === 0)];
  const named = parameters.filter((name) => points.some(({trial}) => hasValue(trial, name))), columns = [...named, item.name];
  const axes = new Map(named.map((name) => [name, unitAxis(study, name, points.filter(({trial}) => hasValue(trial, name)).map(({trial}) => trial.config[name]))]));
  const values = points.map((point) => point.value), [low, high] = d3.extent(values), type = hw.isLog(values) ? d3.scaleLog() : d3.scaleLinear();
  const up = type.domain(item.mode === "min" ? [high, low] : [low, high]).range([0, 1]);
  axes.set(item.name, {at: (value) => low < high ? up(value) : 0.5, ticks: (low < high ? [0, 0.5, 1] : [0.5]).map((at) => ({at, text: tickText(up.invert(at))}))});
  const lines = d3.reverse(kept).flatMap((point) => columns.map((name) => {
    const value = name === item.name ? point.value : point.trial.config[name];
    return {point, name, at: value === undefined || value === null ? NaN : axes.get(name).at(value)};
  }));
  const ticks = columns.flatMap((name) => axes.get(name).ticks.map((tick) => ({name, ...tick}))), colors = hw.colors();
  const node = hw.draw(place, `All parameters and the ${item.name} of ${hw.counted(kept.length, "trials")}`, (width) => ({
    height: Math.max(300, Math.min(440, width * 0.45)), marginLeft: 20, marginRight: 60, marginTop: 30, marginBottom: width < 560 ? 70 : 40,
    x: {type: "point", domain: columns, label: null, tickSize: 0, tickRotate: width < 560 ? -35 : 0, padding: 0.2}, y: {axis: null, domain: [-0.03, 1.03]},
    marks: [
      Plot.ruleX(columns, {x: (name) => name, stroke: colors.line, strokeWidth: 1.5}),
      Plot.line(lines, {x: "name", y: "at", z: (one) => one.point.trial.trial_id, stroke: (one) => hw.rankColor(one.point.share), strokeWidth: 1.1, strokeOpacity: kept.length > 120 ? 0.45 : 0.75}),
      Plot.text(ticks, {x: "name", y: "at", text: "text", dx: 4, textAnchor: "start", fontSize: 11, fill: colors.ink, stroke: colors.paper, strokeWidth: 3}),
      Plot.tip(lines.filter((one) => Number.isFinite(one.at)), Plot.pointer({x: "name", y: "at", maxRadius: 12, fontSize: 12, title: ({point}) =>
        `trial ${point.trial.trial_id}: ${item.name} ${hw.number(point.value)}\n\n${hw.configText(point.trial.config)}`})),
    ],
  }));
  node.classList.add("clickable");
  node.addEventListener("click", () => { if (node.value) hw.go({view: "trial", trial: node.value.point.trial.trial_id}); });
  note.textContent = `The best values are at the top of the last axis.${kept.length < points.length ? ` ${kept.length} of ${hw.counted(points.length, "trials")}: the best ${best.length}, and every ${every}th of the others.` : ""}`;
};
