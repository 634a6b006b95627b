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
  let all = 0, training = 0;
  const points = segments.flatMap((segment) => {
    const share = segment.slots.length / segment.per_device;
    all += (segment.end_s - segment.start_s) * share;
    training += Math.min(segment.train_s, segment.end_s - segment.start_s) * share;
    const at = segment.end_s / unit_s;
    return [{at, value: all / device_s, kind: "busy"}, {at, value: training / device_s, kind: "training"}];
  });
  const every = Math.ceil(points.length / 1600), kept = points.filter((_, index) => Math.floor(index / 2) % every === 0 || index >= points.length - 2);
  hw.draw(place, "Device time over the time that the study ran", (width) => ({
    height: Math.max(220, Math.min(340, width * 0.35)), grid: true,
    x: {label: `time the study ran [${unit}] →`}, y: {label: `↑ device time of ended segments [${deviceUnit}]`},
    marks: [
      Plot.areaY(kept.filter((point) => point.kind === "busy"), {x: "at", y: "value", fill: colors.start, curve: "step-after"}),
      Plot.areaY(kept.filter((point) => point.kind === "training"), {x: "at", y: "value", fill: colors.bar[2], curve: "step-after"}),
    ],
  }));
  place.append(hw.legend([{symbol: "bar", fill: colors.bar[2], text: "training"}, {symbol: "bar", fill: colors.start, text: "start-up, saving, waiting, lost work"}]));
  note.textContent = "";
}
