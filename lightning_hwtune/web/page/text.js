"use strict";
// Numbers and words as people read them. A cell's full value is in its title.

hw.number = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
};

const even = (value) => {  // as Python rounds, so that commands show the same number
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
};

hw.duration = (seconds) => {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "?";
  if (seconds < 10) return seconds < 0.01 ? "0 s" : `${Number(seconds.toPrecision(2))} s`;
  const whole = even(seconds), minutes = Math.floor(whole / 60), two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (minutes < 60) return `${minutes} min ${two(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
};

hw.counted = (count, words) => `${count} ${count === 1 ? words.replace(/s$/, "") : words}`;
hw.dollars = (usd) => usd === null || usd === undefined ? "" : `$${usd < 1 ? Number(usd.toPrecision(2)) : usd.toFixed(2)}`;
hw.label = (item) => `${item.name}${item.unit ? ` [${item.unit}]` : ""}`;
hw.better = (item) => `${item.mode === "min" ? "lower" : "higher"} is better`;
hw.configText = (config) => Object.entries(config).map(([name, value]) => `${name} ${hw.number(value)}`).join("\n");

// An amount of a quantity with its unit, in steps of 1000 for bytes and joules.
hw.amount = (value, unit) => {
  const steps = {B: ["bytes", "kB", "MB", "GB", "TB"], J: ["J", "kJ", "MJ", "GJ"]}[unit];
  if (!steps || typeof value !== "number") return hw.number(value);
  const place = Math.min(Math.max(Math.floor(Math.log10(Math.abs(value) || 1) / 3), 0), steps.length - 1);
  return `${Number((value / 1000 ** place).toPrecision(3))} ${steps[place]}`;
};
hw.percent = (share) => share > 0 && share < 0.005 ? "below 1 %" : `${Math.round(share * 100)} %`;

// The unit of an axis of seconds.
hw.timeUnit = (seconds) => seconds > 18000 ? ["h", 3600] : seconds > 300 ? ["min", 60] : ["s", 1];

// Turns of something that only the newest may finish, such as the view that is shown. `next` begins one, and returns what
// passes on a promise of this turn: once a newer turn has begun, it never settles, so that no code after it runs.
hw.turns = () => {
  let newest = 0;
  return {
    next() {
      const mine = ++newest;
      return (promise) => new Promise((done, failed) => {
        promise.then((found) => { if (mine === newest) done(found); }, (error) => { if (mine === newest) failed(error); });
      });
    },
  };
};
hw.pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
