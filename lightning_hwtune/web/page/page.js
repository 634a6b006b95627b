"use strict";
// The page: its address, its head, the source of the data, and when a view is drawn.

const VIEWS = ["front", "trials", "rungs", "parameters", "searcher", "devices", "budget"];
hw.params = {};

hw.Unreachable = class extends Error {};
hw.reached = (promise) => promise.catch(() => { throw new hw.Unreachable("The server does not answer."); });

// A server that sends what changes, or the data that are stored in this file.
hw.served = {
  isLive: true,
  name: () => hw.params.study ?? "",
  of(name) { return {...this, name: () => name}; },
  query(more = {}) { return new URLSearchParams({...(this.name() ? {study: this.name()} : {}), ...more}).toString(); },
  async get(path) {
    const response = await hw.reached(fetch(path, {headers: {accept: "application/json"}}));
    if (response.status === 403) throw new Error("This page may not read any more: open the address that `hwtune serve` has printed last.");
    const found = await hw.reached(response.json());
    if (found.error) throw new Error(found.error);
    return found;
  },
  async post(path, more = {}, body = {}) {
    const headers = {"x-hwtune-request": "1", "content-type": "application/json"};
    const response = await hw.reached(fetch(`${path}?${this.query(more)}`, {method: "POST", headers, body: JSON.stringify(body)}));
    if (response.status === 403) throw new Error(await hw.reached(response.text()));
    const found = await hw.reached(response.json());
    if (found.error) throw new Error(found.error);
    return found;
  },
  study(kinds) { return this.get(`/data/study?${this.query({with: kinds.join(",")})}`); },
  trial(id) { return this.get(`/data/trial?${this.query({trial: id})}`); },
  log(id) { return this.get(`/data/log?${this.query({trial: id})}`); },
  studies() { return this.get("/data/studies"); },
  importance() { return this.get(`/data/importance?${this.query()}`); },
  prior() { return this.get(`/data/prior?${this.query()}`); },
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
    return {story, segments: this.data.segments.filter((row) => row[0] === id)};
  },
  async importance() {
    if (!this.data.importance) throw new Error("This file has no importance: `hwtune importance` prints it.");
    return this.data.importance;
  },
  async prior() {
    if (!this.data.prior) throw new Error("This file has nothing about the prior: `hwtune prior show` prints it.");
    return this.data.prior;
  },
};

hw.address = (change) => {
  const {study} = hw.params;
  return `#${new URLSearchParams({...(study ? {study} : {}), ...change})}`;
};
hw.go = (change) => { location.hash = hw.address(change); };

const byId = (id) => document.getElementById(id);
const loads = hw.turns(), shows = hw.turns();
let mounted = null, events = null, waiting = false, dirty = false;

// Each view, and each message instead of one, has an element of its own: what a view that was left still writes is not seen.
function freshRoot() {
  const root = hw.el("div");
  byId("main").replaceChildren(root);
  return root;
}

function problem(text) {
  mounted = null;
  shows.next();
  freshRoot().append(hw.el("p", {class: "problem", role: "alert"}, text));
}

function live(text, isLost = false) {
  const node = byId("live");
  if (node.textContent !== text) node.textContent = text;
  node.classList.toggle("lost", isLost);
}

// Loads the study of the address; waits while the server reads its log for the first time. Until then, a page that loads
// the same study again shows what it has.
async function load(turn) {
  events?.close();
  events = null;
  if (hw.study && hw.study.address !== (hw.params.study ?? "")) {
    hw.study = null;
    problem("Loading the study …");
  }
  for (;;) {
    const found = await turn(hw.source.study(["trials"]));
    if (!found.reading) {
      hw.study = Object.assign(new hw.Study(found), {address: hw.params.study ?? ""});
      break;
    }
    problem(`Reading the log of ${found.reading}: ${hw.counted(found.events, "events")} …`);
    await turn(hw.pause(250));
  }
  if (hw.source.isLive) follow();
  else {
    hw.study.loaded = new Set(["trials", "curves", "segments"]);
    live(`as of event ${hw.study.number}`);
  }
}

function follow() {
  const {study} = hw;
  const own = events = new EventSource(`/events?${hw.source.query({after: study.number, study_id: study.about.study_id})}`);
  own.onopen = () => { if (own === events) live("live"); };
  own.onerror = () => {
    if (own !== events) return;
    live("connection lost; trying again", true);
    if (own.readyState === EventSource.CLOSED) setTimeout(() => { if (own === events) start(); }, 1500);
  };
  own.onmessage = ({data}) => {
    if (own !== events) return;
    const message = JSON.parse(data);
    if (message.reset) return start();
    if (message.error) return live(message.error, true);
    study.apply(message);
    live("live");
    changed();
  };
}

// Draws again soon; a chart under the pointer is left in peace for some seconds. The next drawing comes after a multiple of
// the time that this one took: charts of thousands of points are drawn again less often. A page that is not visible waits.
function changed() {
  dirty = true;
  if (hw.study) head();
  if (waiting || document.hidden) return;
  waiting = true;
  const begun = performance.now();
  const attempt = () => {
    if (document.querySelector(".chart svg:hover") && performance.now() - begun < 3000) return setTimeout(attempt, 200);
    const from = performance.now();
    dirty = false;
    try {
      if (hw.study) draw();
    } finally {
      const taken = performance.now() - from;
      setTimeout(() => { waiting = false; if (dirty) changed(); }, Math.max(200, taken * (taken < 200 ? 3 : 20)));
    }
  };
  setTimeout(attempt, 60);
}

function draw() {
  mounted?.update();
  document.documentElement.dataset.number = String(hw.study.number);
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
  if (status.waits_for) parts.push(`waits for ${status.waits_for}`);
  byId("summary").textContent = parts.join(" · ") + (status.reason ? `. ${status.reason[0].toUpperCase()}${status.reason.slice(1)}.` : "");
  const shown = hw.source.isLive ? [...VIEWS, ...(hw.controls() ? ["control"] : []), "studies"] : VIEWS;
  byId("nav").replaceChildren(...shown.map((name) => hw.el("a", {href: hw.address({view: name}), "aria-current": name === view ? "page" : null}, hw.views[name].title)));
  const nav = byId("nav"), current = nav.querySelector("[aria-current]");  // on a phone, not all of them fit
  if (current) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - (nav.clientWidth - current.offsetWidth) / 2;
}

// Shows the view of the address.
hw.show = async () => {
  const turn = shows.next(), given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  hw.params = {view: "front", ...given};
  if (!hw.views[hw.params.view] || (hw.views[hw.params.view].isServed && !hw.source.isLive)) hw.params.view = "front";
  const {study} = hw, view = hw.views[hw.params.view];
  if (study?.address !== (hw.params.study ?? "")) return start();
  const lacking = (view.needs ?? []).filter((kind) => !study.loaded.has(kind));
  document.documentElement.removeAttribute("data-drawn");
  try {
    if (lacking.length) {
      study.apply(await turn(hw.source.study(lacking)), true);
      lacking.forEach((kind) => study.loaded.add(kind));
    }
    head();
    mounted = null;
    mounted = view.mount(freshRoot(), study, turn);
    document.documentElement.dataset.number = String(study.number);
    document.documentElement.dataset.drawn = hw.params.view;
  } catch (error) {
    failed(error);
  }
};

async function start() {
  const turn = loads.next();
  try {
    await load(turn);
    await hw.show();
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  problem(error.message);
  if (!(error instanceof hw.Unreachable)) return;
  const turn = loads.next();
  live("connection lost; trying again", true);
  turn(hw.pause(1500)).then(start);
}

async function main() {
  hw.source = byId("stored") ? hw.stored : hw.served;
  if (hw.source.isLive && location.search) history.replaceState(null, "", location.pathname + location.hash);
  else if (!hw.source.isLive) await hw.source.open();
  hw.params = {view: "front", ...Object.fromEntries(new URLSearchParams(location.hash.slice(1)))};
  addEventListener("hashchange", hw.show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => hw.study && hw.show());
  document.addEventListener("visibilitychange", () => { if (dirty && !document.hidden) changed(); });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width && hw.study) { width = innerWidth; changed(); } });
  await start();
}

if (document.readyState === "loading") addEventListener("DOMContentLoaded", main);
else main();
