"use strict";
// What the user asks of the study: to end its session, to try a configuration, to stop a trial. Only with `--control`.

hw.controls = () => document.documentElement.dataset.controls === "1" && hw.source.isLive;

// A button that asks first, and says what came of it.
hw.action = (text, question, ask, turn) => {
  const said = hw.el("span", {class: "note", role: "status"});
  const button = hw.el("button", {type: "button", onclick: async () => {
    if (question && !confirm(question)) return;
    button.disabled = true;
    said.textContent = "Asking …";
    try {
      said.textContent = await ask(turn);
    } catch (error) {
      said.textContent = error.message;
    }
    button.disabled = false;
  }}, text);
  return hw.el("p", {class: "controls"}, button, said);
};

hw.stopButton = (id, turn) => hw.action(`Stop trial ${id} for good`, `Stop trial ${id} for good? It will not resume.`, async () => {
  await turn(hw.source.post("/do/stop", {trial: id}));
  return hw.study.status.state === "running" ? "Asked. It ends within about a second." : "Asked. It ends when the study continues.";
}, turn);

hw.views.control = {
  title: "Control",
  isServed: true,
  mount(root, study, turn) {
    if (!hw.controls()) {
      root.append(hw.el("p", {class: "empty"}, "This server only reads. Start it with `hwtune serve --control` to have the buttons."));
      return {update() {}};
    }
    const state = hw.el("span", {id: "running"});
    const end = hw.action("End the session", "End the session of this study? The same command continues it later.", async () => {
      await turn(hw.source.post("/do/end"));
      return "Asked. Running trials pause or are interrupted, and continue when the study is run again.";
    }, turn);
    const {front} = study.front, model = front.find((entry) => entry.trial_id === study.front.recommended?.trial_id) ?? study.trials.at(-1);
    const inputs = new Map(study.about.parameters.map((name) => {
      const value = model?.config[name], text = value === undefined || value === null ? "" : String(value);
      return [name, hw.el("input", {type: "text", name, size: String(Math.min(Math.max(text.length, 12), 24)), value: text})];
    }));
    const form = hw.el("div", {class: "controls", id: "enqueue"}, [...inputs].map(([name, input]) => hw.el("label", {}, name, input)));
    const enqueue = hw.action("Try this configuration next", null, async () => {
      const config = Object.fromEntries([...inputs].filter(([, input]) => input.value.trim() !== "").map(([name, input]) => [name, valueOf(input.value.trim())]));
      const {known} = await turn(hw.source.post("/do/enqueue", {}, config));
      if (known) return "The study has this configuration already.";
      return hw.study.status.state === "running" ? "Asked. It is tried next." : "Asked. It is tried first when the study continues.";
    }, turn);
    root.append(hw.el("h2", {}, "The session"), end, hw.el("h2", {}, "A configuration"),
      hw.el("p", {class: "note"}, "An empty field is a parameter that the configuration does not have."), form, enqueue,
      hw.el("h2", {}, "A trial"), hw.el("p", {}, "The page of a trial has a button that stops it. Running now: ", state));
    function update() {
      const running = hw.study.trials.filter((trial) => trial?.state === "running");
      state.replaceChildren(...(running.length ? running.flatMap((trial, index) => [index ? ", " : "", hw.trialLink(trial.trial_id)]) : ["no trial"]));
    }
    update();
    return {update};
  },
};

// A number, true, false or null where the text is one, otherwise the text.
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
