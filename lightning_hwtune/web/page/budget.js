"use strict";
// What the study has used of its limits, what was spent and on what, and how the bill grew.

hw.views.budget = {
  title: "Budget",
  needs: ["segments"],
  mount(root) {
    const limits = hw.el("div"), spent = hw.el("div"), place = hw.el("div", {class: "chart"}), note = hw.el("p", {class: "note"}), plan = hw.el("div");
    root.replaceChildren(hw.el("h2", {}, "Used of the limits"), limits, plan, hw.el("h2", {}, "Time and money"), spent, place, note);
    function update() {
      limits.replaceChildren(limitBars(hw.study));
      plan.replaceChildren(...planOf(hw.study));
      spent.replaceChildren(ledgerOf(hw.study));
      drawSpending(place, note, hw.study);
    }
    update();
    return {update};
  },
};

// What the plan predicted, and what the study has taken until now.
function planOf({plan, status}) {
  if (!plan) return [];
  const texts = {seconds: hw.duration, usd: hw.dollars}, shown = (row, value) => value === null ? "" : (texts[row.unit] ?? hw.number)(value);
  const column = (name, key) => ({name, value: (row) => row[key], text: (row) => shown(row, row[key])});
  const columns = [{name: "", value: (row) => row.name}, column("predicted", "predicted"), column("at least", "least"), column("at most", "most"),
    column(status.state === "running" ? "until now" : "actual", "actual")];
  return [hw.el("h2", {}, "The plan, and what the study took"), hw.table(columns, plan, {caption: "The plan"})];
}

function limitBars(study) {
  const {status, about: {limits, unit}} = study, rows = [
    ["trials", status.trials, limits.max_trials, (value) => String(value)],
    ["time", status.wall_s, limits.max_time_s, hw.duration],
    ["money", status.cost_usd, limits.max_cost_usd, hw.dollars],
    [`${unit} trained, of full training of all trials`, status.epochs_spent, status.epochs_full, (value) => String(value)],
  ].filter(([, value]) => value !== null && value !== undefined);
  return hw.el("div", {class: "bars"}, rows.flatMap(([name, value, limit, text]) => [
    hw.el("span", {}, name), limit ? track(value / limit) : hw.el("span", {class: "note"}, "no limit"),
    hw.el("span", {"data-budget": name}, limit ? `${text(value)} of ${text(limit)}` : text(value)),
  ]));
}

function track(part) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("class", "track");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", String(100 * Math.min(Math.max(part, 0), 1)));
  rect.setAttribute("height", "10");
  svg.append(rect);
  return svg;
}

function ledgerOf(study) {
  const {status, ledger} = study, left = status.time_left_s;
  const pairs = [
    ["time the study ran", hw.duration(status.wall_s)],
    ...(left === null ? [] : [["time left, by forecast", `about ${hw.duration(left)}`]]),
    ...(status.time_left_range_s ? [["with a probability of 80 %", `between ${status.time_left_range_s.map(hw.duration).join(" and ")}`]] : []),
    ["device time", hw.duration(status.device_s)],
    ["of which led to results", hw.duration(status.useful_device_s)],
    ...(ledger.total_usd === null ? [] : [["cost", hw.dollars(ledger.total_usd)], ["for training", hw.dollars(ledger.training_usd)],
      ["for start-ups, saving and lost work", hw.dollars(ledger.overhead_usd)], ...(ledger.nodes.length ? [["for idle devices and launches", hw.dollars(ledger.idle_and_launch_usd)]] : [])]),
    ["promotions", status.promotions], ["segments that resumed", status.resumed_segments], ["retried segments", status.retried], ["failed trials", status.failed],
  ];
  const list = hw.el("dl", {}, pairs.flatMap(([name, value]) => [hw.el("dt", {}, name), hw.el("dd", {"data-fact": name}, String(value))]));
  if (!ledger.nodes.length) return list;
  const columns = ["node", "instance", "state", "usd_per_hour", "up_s", "billed_usd"].map((name) => ({name, value: (row) => row[name]}));
  return hw.el("div", {}, list, hw.table(columns, ledger.nodes, {caption: "Nodes"}));
}

// Device time, or the bill of segments, over the time that the study ran: all of it, and the part that was training.
function drawSpending(place, note, study) {
  const segments = d3.sort([...study.segments.values()].filter((segment) => segment.end_s !== null), (segment) => segment.end_s);
  if (segments.length < 2) return place.replaceChildren();
  const colors = hw.colors(), [unit, unit_s] = hw.timeUnit(segments.at(-1).end_s), [deviceUnit, device_s] = hw.timeUnit(study.status.device_s);
  const order = ["training", "start-up", "saving", "waiting", "lost"], totals = order.map(() => 0);
  const rows = segments.map((segment) => {
    const share = segment.slots.length / segment.per_device;
    segment.phases.forEach((seconds, index) => { totals[order.indexOf(hw.phases[index])] += seconds * share; });
    let below = 0;
    return order.map((name, index) => ({at: segment.end_s / unit_s, name, y1: below / device_s, y2: (below += totals[index]) / device_s}));
  });
  const every = Math.ceil(rows.length / 800), kept = rows.filter((_, index) => index % every === 0 || index === rows.length - 1);
  const fill = (name) => colors.phases[name] ?? colors.bar[2], seen = order.filter((_, index) => totals[index] > 0);
  hw.draw(place, "Device time over the time that the study ran", (width) => ({
    height: Math.max(220, Math.min(340, width * 0.35)), grid: true,
    x: {label: `time the study ran [${unit}] →`}, y: {label: `↑ device time of ended segments [${deviceUnit}]`},
    marks: seen.map((name) => Plot.areaY(kept.map((row) => row[order.indexOf(name)]), {x: "at", y1: "y1", y2: "y2", fill: fill(name), curve: "step-after"})),
  }));
  place.append(hw.legend(seen.map((name) => ({symbol: "bar", fill: fill(name), text: `${name}, ${hw.duration(totals[order.indexOf(name)])}`}))));
  note.textContent = "";
}
