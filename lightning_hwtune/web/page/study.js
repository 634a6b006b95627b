"use strict";
// The study that is shown. Arrays from the server become objects here; a message changes only the trials that it names.

const hw = {views: {}, study: null};

hw.Study = class {
  constructor(message) {
    this.trials = [];
    this.curves = new Map();
    this.segments = new Map();
    this.loaded = new Set(["trials"]);
    this.touched = new Map();
    this.number = 0;
    this.apply(message, true);
  }

  // Applies a message. `isWhole`: it has all arrays of some kinds, and may be older than a message that was applied.
  apply(message, isWhole = false) {
    for (const name of ["about", "front", "ledger", "plan", "status"]) {
      if (message[name] !== undefined && message.number >= this.number) this[name] = message[name];
    }
    const isNew = (id) => !isWhole || (this.touched.get(id) ?? 0) <= message.number;
    for (const row of message.trials ?? []) {
      if (!isNew(row[0])) continue;
      this.trials[row[0]] = this.trial(row);
      if (!isWhole) this.touched.set(row[0], message.number);
    }
    for (const row of message.curves ?? []) if (isNew(row[0])) this.curves.set(row[0], row);
    for (const row of message.segments ?? []) if (isNew(row[0])) this.segments.set(`${row[0]}/${row[1]}`, this.segment(row));
    if (message.number >= this.number) {
      this.number = message.number;
      this.clock_s = message.clock_s;
    }
    this.members = new Map(this.front.front.map((entry) => [entry.trial_id, entry]));
  }

  // The entry of a trial, as `hwtune trials --format json` has it, without the checkpoint.
  trial(row) {
    const {trial_keys: keys, objectives, constraints, parameters} = this.about;
    const names = {objectives: objectives.map((item) => item.name), constraints, config: parameters};
    const entry = {};
    keys.forEach((key, place) => {
      const value = row[place];
      entry[key] = Array.isArray(value) && key in names
        ? Object.fromEntries(names[key].map((name, index) => [name, value[index]])) : value;
    });
    entry.resource = entry[this.about.unit];
    return entry;
  }

  // `phases`: seconds of start-up, training, saving, waiting and lost work; of a running segment, up to its newest report.
  segment([trial_id, number, slots, start_s, end_s, phases, from, to, outcome, node, usd, per_device]) {
    return {trial_id, number, slots, start_s, end_s, phases, from, to, outcome, node, usd, per_device};
  }

  get objectives() { return this.about.objectives; }

  // The quantities that an axis may show: the objectives, and the training time of a study with only one.
  get axes() {
    const found = this.objectives.map((item) => ({...item, value: (trial) => trial.objectives[item.name]}));
    if (found.length === 1) found.push({name: "train_s", mode: "min", unit: "", value: (trial) => trial.train_s});
    return found;
  }

  isFull(trial) { return trial.state === "completed" && trial.replicate_of === null; }
  isInfeasible(trial) { return (trial.violation ?? 0) > 0; }
};
