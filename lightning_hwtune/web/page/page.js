"use strict";
// The page: its address, its head, the source of the data, and when a view is drawn.

const VIEWS = ["front", "trials", "rungs", "parameters", "devices", "budget"];
hw.params = {};

// A server that sends what changes, or the data that are stored in this file.
hw.served = {
  isLive: true,
  name: () => hw.params.study ?? "",
  of(name) { return {...this, name: () => name}; },
  query(more = {}) { return new URLSearchParams({...(this.name() ? {study: this.name()} : {}), ...more}).toString(); },
  async get(path) {
    const response = await fetch(path, {headers: {accept: "application/json"}});
    if (response.status === 403) throw new Error("This page may not read any more: open the address that `hwtune serve` has printed last.");
    const found = await response.json();
    if (found.error) throw new Error(found.error);
    return found;
  },
  study(kinds) { return this.get(`/data/study?${this.query({with: kinds.join(",")})}`); },
  trial(id) { return this.get(`/data/trial?${this.query({trial: id})}`); },
  studies() { return this.get("/data/studies"); },
  importance() { return this.get(`/data/importance?${this.query()}`); },
};

hw.stored = {
  isLive: false,
  async open() {
    const packed = Uint8Array.from(atob(document.getElementById("stored").textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    this.data = await new Response(stream).json();
  },
  async study() { return this.data; },
  async trial(id) {
    const story = this.data.stories[id];
    if (!story) throw new Error(`This file has no story of trial ${id}: \`hwtune why ${id}\` prints it.`);
    return {story};
  },
  async importance() {
    if (!this.data.importance) throw new Error("This file has no importance: `hwtune importance` prints it.");
    return this.data.importance;
  },
};

hw.address = (change) => {
  const {study} = hw.params;
  return `#${new URLSearchParams({...(study ? {study} : {}), ...change})}`;
};
hw.go = (change) => { location.hash = hw.address(change); };

const byId = (id) => document.getElementById(id);
let mounted = null, events = null, waiting = false, dirty = false;

function problem(text) {
  byId("main").replaceChildren(hw.el("p", {class: "problem", role: "alert"}, text));
}

function live(text, isLost = false) {
  const node = byId("live");
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("lost", isLost);
}

// Loads the study; waits while the server reads its log for the first time.
async function load() {
  events?.close();
  hw.study = null;
  for (;;) {
    const found = await hw.source.study(["trials"]);
    if (!found.reading) {
      hw.study = new hw.Study(found);
      break;
    }
    problem(`Reading the log of ${found.reading}: ${hw.counted(found.events, "events")} …`);
    await new Promise((done) => setTimeout(done, 250));
  }
  if (hw.source.isLive) follow();
  else {
    hw.study.loaded = new Set(["trials", "curves", "segments"]);
    live(`as of event ${hw.study.number}`);
  }
}

function follow() {
  const {study} = hw;
  events = new EventSource(`/events?${hw.source.query({after: study.number, study_id: study.about.study_id})}`);
  const own = events;
  own.onopen = () => live("live");
  own.onerror = () => {
    live("connection lost; trying again", true);
    if (own.readyState === EventSource.CLOSED && own === events) setTimeout(() => { if (own === events) start(); }, 1500);
  };
  own.onmessage = ({data}) => {
    if (own !== events) return;
    const message = JSON.parse(data);
    if (message.reset) return start();
    if (message.error) return live(message.error, true);
    hw.study.apply(message);
    live("live");
    changed();
  };
}

// Draws again soon; a chart under the pointer is left in peace for some seconds.
function changed() {
  dirty = true;
  if (waiting) return;
  waiting = true;
  const begun = performance.now();
  const attempt = () => {
    if (document.querySelector(".chart svg:hover") && performance.now() - begun < 3000) return setTimeout(attempt, 200);
    const from = performance.now();
    dirty = false;
    head();
    mounted?.update();
    document.documentElement.dataset.number = String(hw.study.number);
    setTimeout(() => { waiting = false; if (dirty) changed(); }, Math.max(200, 3 * (performance.now() - from)));
  };
  setTimeout(attempt, 60);
}

function head() {
  const {status, about} = hw.study, view = hw.params.view;
  document.title = `${about.study}: ${status.state}`;
  byId("title").textContent = about.study;
  byId("state").textContent = status.state;
  byId("state").className = `badge ${status.state}`;
  const parts = [`${status.trials}${status.max_trials ? ` of ${status.max_trials}` : ""} trials`, `${status.fully_trained} fully trained`,
    `${status.front_size} on the front`, `${status.epochs_spent} of ${status.epochs_full} ${status.unit}`];
  if (status.running_segments) parts.push(`${status.running_segments} running`);
  if (status.time_left_s !== null) parts.push(`about ${hw.duration(status.time_left_s)} left`);
  byId("summary").textContent = parts.join(" · ") + (status.reason ? `. ${status.reason[0].toUpperCase()}${status.reason.slice(1)}.` : "");
  const shown = hw.source.isLive ? [...VIEWS, "studies"] : VIEWS;
  byId("nav").replaceChildren(...shown.map((name) => hw.el("a", {href: hw.address({view: name}), "aria-current": name === view ? "page" : null}, hw.views[name].title)));
}

// Shows the view of the address.
hw.show = async () => {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1))), isOther = (given.study ?? "") !== (hw.params.study ?? "");
  hw.params = {view: "front", ...given};
  if (!hw.views[hw.params.view]) hw.params.view = "front";
  if (isOther || !hw.study) return start();
  const view = hw.views[hw.params.view], lacking = (view.needs ?? []).filter((kind) => !hw.study.loaded.has(kind));
  if (lacking.length) {
    const {study} = hw, found = await hw.source.study(lacking);
    if (study !== hw.study || hw.views[hw.params.view] !== view) return;
    study.apply(found, true);
    lacking.forEach((kind) => study.loaded.add(kind));
  }
  document.documentElement.removeAttribute("data-drawn");
  head();
  mounted = view.mount(byId("main"), hw.study);
  document.documentElement.dataset.number = String(hw.study.number);
  document.documentElement.dataset.drawn = hw.params.view;
};

let starting = null;
async function start() {
  const mine = starting = {};
  try {
    await load();
    if (mine === starting) await hw.show();
  } catch (error) {
    if (mine !== starting) return;
    problem(error instanceof TypeError ? "The server does not answer." : error.message);
    if (hw.source.isLive && error instanceof TypeError) {
      live("connection lost; trying again", true);
      setTimeout(() => { if (mine === starting) start(); }, 1500);
    }
  }
}

async function main() {
  hw.source = byId("stored") ? hw.stored : hw.served;
  if (hw.source.isLive && location.search) history.replaceState(null, "", location.pathname + location.hash);
  else if (!hw.source.isLive) await hw.source.open();
  hw.params = {view: "front", ...Object.fromEntries(new URLSearchParams(location.hash.slice(1)))};
  addEventListener("hashchange", () => hw.show().catch((error) => problem(error.message)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => hw.study && hw.show());
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width && hw.study) { width = innerWidth; changed(); } });
  await start();
}

if (document.readyState === "loading") addEventListener("DOMContentLoaded", main);
else main();
