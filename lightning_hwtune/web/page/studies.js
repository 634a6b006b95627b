"use strict";
// All studies of the folder or database.

hw.views.studies = {
  title: "Studies",
  isServed: true,
  mount(root, study, turn) {
    const updates = hw.turns();
    function update() {
      turn(updates.next()(hw.source.studies())).then(draw, (error) => root.replaceChildren(hw.el("p", {class: "problem"}, error.message)));
    }
    function draw(entries) {
      const columns = [
        {name: "study", value: (entry) => entry.study, link: (entry) => hw.el("a", {href: hw.address({study: entry.study, view: "front"})}, entry.study)},
        {name: "state", value: (entry) => entry.error || entry.state},
        {name: "compare", value: (entry) => entry.study, link: (entry) => entry.error || entry.study === study.about.study ? ""
          : hw.el("a", {href: hw.address({view: "compare", with: entry.study})}, `with ${study.about.study}`)},
        {name: "trials", value: (entry) => entry.trials, text: (entry) => entry.max_trials ? `${entry.trials} of ${entry.max_trials}` : hw.number(entry.trials)},
        {name: "best", value: (entry) => entry.best, text: (entry) => Object.entries(entry.best ?? {}).map(([name, value]) => `${name} ${hw.number(value)}`).join(", ")},
        {name: "last event", value: (entry) => entry.last_at, text: (entry) => entry.last_at ? new Date(entry.last_at * 1000).toLocaleString() : ""},
      ];
      root.replaceChildren(hw.table(columns, entries, {caption: "Studies"}));
    }
    update();
    return {update};
  },
};
