"use strict";
// All trials as a table: sort by any column, filter by words and comparisons, choose the columns.

const PAGE_ROWS = 100;

hw.views.trials = {
  title: "Trials",
  mount(root, study) {
    let page = 0;
    const sort = {name: hw.params.sort ?? "trial", down: hw.params.down === "1"};
    const hidden = new Set(["target", "bracket", "retries", "replicate_of", "failure", "segments"]
      .concat(trialColumns(study).map(({name}) => name).filter((name) => name.startsWith("logged.")))
      .filter((name) => !(name === "failure" && study.trials.some((trial) => trial.failure))));
    const filter = hw.el("input", {type: "search", id: "filter", value: hw.params.filter ?? "", placeholder: "e.g. completed error<0.1",
      "aria-label": "filter: words, and comparisons such as error<0.1", oninput: () => { page = 0; update(); }});
    const picker = hw.el("details", {}, hw.el("summary", {}, "Columns"));
    const count = hw.el("span", {class: "note", role: "status", id: "count"});
    const earlier = hw.el("button", {type: "button", onclick: () => { page -= 1; update(); }}, "Previous");
    const later = hw.el("button", {type: "button", onclick: () => { page += 1; update(); }}, "Next");
    const list = hw.el("div");
    root.replaceChildren(hw.el("div", {class: "controls"}, filter, count, earlier, later), picker, list);
    picker.append(hw.el("div", {class: "controls"}, trialColumns(study).map(({name}) =>
      hw.checkbox(name, !hidden.has(name), (isShown) => { isShown ? hidden.delete(name) : hidden.add(name); update(); }))));

    function update() {
      const columns = trialColumns(hw.study), tests = filterTests(filter.value, columns);
      const rows = hw.study.trials.filter((trial) => trial && tests.every((test) => test(trial)));
      const column = columns.find((item) => item.name === sort.name) ?? columns[0];
      const ordered = sortedBy(rows, column, sort.down), last = Math.max(Math.ceil(ordered.length / PAGE_ROWS) - 1, 0);
      page = Math.min(Math.max(page, 0), last);
      const first = page * PAGE_ROWS, shown = ordered.slice(first, first + PAGE_ROWS);
      count.textContent = rows.length ? `${first + 1} to ${first + shown.length} of ${hw.counted(rows.length, "trials")}` : "no trial";
      earlier.disabled = page === 0;
      later.disabled = page === last;
      const visible = columns.filter(({name}) => !hidden.has(name));
      const focused = document.activeElement?.closest?.("th")?.textContent.split(" ")[0];
      list.replaceChildren(hw.table(visible, shown, {caption: "Trials", sort, member: (trial) => hw.study.members.has(trial.trial_id),
        onsort: (name) => { sort.down = sort.name === name && !sort.down; sort.name = name; page = 0; update(); }}));
      if (focused) [...list.querySelectorAll("th")].find((th) => th.textContent.split(" ")[0] === focused)?.querySelector("button")?.focus();
    }
    update();
    return {update};
  },
};

function trialColumns(study) {
  const {about} = study;
  const columns = [
    {name: "trial", value: (trial) => trial.trial_id, link: (trial) => hw.trialLink(trial.trial_id)},
    {name: "state", value: (trial) => trial.state},
    {name: about.unit, value: (trial) => trial.resource},
    {name: "target", value: (trial) => trial.target},
    {name: "devices", value: (trial) => trial.devices},
    {name: "segments", value: (trial) => trial.segments},
  ];
  const taken = new Set(columns.map(({name}) => name));
  const add = (kind, name, value) => columns.push({name: taken.has(name) ? `${kind}.${name}` : name, value,
    ...(about.units[name] === "B" ? {text: (trial) => hw.amount(value(trial), "B")} : {})});
  for (const {name} of about.objectives) add("objective", name, (trial) => trial.objectives[name]);
  for (const name of about.constraints.filter((name) => !about.objectives.some((item) => item.name === name))) {
    add("constraint", name, (trial) => trial.constraints?.[name]);
  }
  for (const name of about.parameters.filter((name) => name !== about.devices_key)) add("config", name, (trial) => trial.config[name]);
  if (about.trial_keys.includes("infeasible")) {
    columns.push({name: "violates", value: (trial) => Object.keys(trial.infeasible ?? {}).join(", ")});
  }
  for (const kind of ["logged", "notes", "test"]) {  // whatever the trainings have logged and noted, and what a test has found
    const names = new Set(study.trials.flatMap((trial) => Object.keys(trial?.[kind] ?? {})));
    for (const name of names) columns.push({name: `${kind}.${name}`, value: (trial) => trial[kind]?.[name]});
  }
  const rungs = (trial) => Object.entries(trial.rungs).map(([level, word]) => `${level} ${word}`).join(", ");
  columns.push({name: "rungs", value: rungs}, {name: "bracket", value: (trial) => trial.bracket},
    {name: "retries", value: (trial) => trial.retries}, {name: "replicate_of", value: (trial) => trial.replicate_of},
    {name: "failure", value: (trial) => trial.failure});
  return columns;
}

// Missing values come last in both directions.
function sortedBy(rows, column, down) {
  const isMissing = (value) => value === null || value === undefined || value === "";
  const compare = down ? d3.descending : d3.ascending;
  return rows.map((row) => [column.value(row), row]).sort(([a], [b]) => {
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
    return typeof a === typeof b ? compare(a, b) : compare(String(a), String(b));
  }).map(([, row]) => row);
}

function filterTests(text, columns) {
  return text.trim().split(/\s+/).filter(Boolean).map((term) => {
    const found = /^(.+?)(<=|>=|!=|<|>|=)(.*)$/.exec(term), column = found && columns.find(({name}) => name === found[1]);
    if (column && found[3] !== "") {
      const [, , sign, wanted] = found, limit = Number(wanted);
      return (row) => {
        const value = column.value(row);
        if (value === null || value === undefined) return false;
        const [a, b] = typeof value === "number" && !Number.isNaN(limit) ? [value, limit] : [String(value), wanted];
        return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b, "!=": a !== b}[sign];
      };
    }
    const word = term.toLowerCase();
    return (row) => columns.some((item) => String(item.value(row) ?? "").toLowerCase().includes(word));
  });
}
