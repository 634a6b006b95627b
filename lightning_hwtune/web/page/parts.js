"use strict";
// Parts of views: elements, controls, tables and charts. Text is never read as HTML.

hw.el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

hw.isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
hw.colors = () => {
  const dark = hw.isDark();
  return {
    devices: dark ? ["#4aa8e8", "#f08a45", "#3fc79a", "#e29ac6", "#f2bd4b", "#9ad4f5"]
      : ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b97f00", "#56b4e9"],
    faint: dark ? "#5b646e" : "#b4bac1",
    ink: dark ? "#e6edf3" : "#1f2328",
    line: dark ? "#343b43" : "#d8dee4",
    paper: dark ? "#0f1318" : "#ffffff",
    verdict: dark
      ? {completed: "#3fc79a", promoted: "#4aa8e8", passed: "#4aa8e8", running: "#f2bd4b", paused: "#7d8792", stopped: "#f08a45", failed: "#ff8b80"}
      : {completed: "#00734c", promoted: "#0072b2", passed: "#0072b2", running: "#b97f00", paused: "#9aa2ab", stopped: "#d55e00", failed: "#b3261e"},
    bar: dark ? ["#1d4f73", "#2a75a9", "#3f9bd8", "#74bdec", "#a9d8f6", "#d8effc"]
      : ["#a6cbe3", "#6fa9d0", "#3f86ba", "#1f669c", "#0b4a7c", "#05305a"],
    phases: dark ? {"start-up": "#59626c", saving: "#c2942f", waiting: "#77618c", lost: "#9a3f3a"}
      : {"start-up": "#c9cfd6", saving: "#e3ac2c", waiting: "#c3afd6", lost: "#e59a92"},
  };
};
hw.symbols = ["circle", "square", "triangle", "diamond", "star", "plus"];

hw.select = (label, options, chosen, onchange) => hw.el("label", {}, label, hw.el("select",
  {onchange: (event) => onchange(event.target.value), "aria-label": label},
  options.map((option) => hw.el("option", {value: option, selected: option === chosen}, option))));

hw.checkbox = (label, checked, onchange) => hw.el("label", {},
  hw.el("input", {type: "checkbox", checked, onchange: (event) => onchange(event.target.checked)}), label);

hw.trialLink = (id) => hw.el("a", {href: hw.address({view: "trial", trial: id})}, String(id));

// A table. `columns`: {name, value, text?, link?}; numbers are on the right.
hw.table = (columns, rows, {caption, sort, onsort, member} = {}) => {
  const isNumber = columns.map((column) => rows.some((row) => typeof column.value(row) === "number") && !column.link);
  const head = columns.map((column, index) => {
    const order = sort && sort.name === column.name ? (sort.down ? "descending" : "ascending") : null;
    const mark = order ? (sort.down ? " ↓" : " ↑") : "";
    const inner = onsort ? hw.el("button", {type: "button", onclick: () => onsort(column.name)}, column.name + mark) : column.name;
    return hw.el("th", {scope: "col", class: isNumber[index] ? "number" : null, "aria-sort": order, title: column.title}, inner);
  });
  const body = rows.map((row) => hw.el("tr", {class: member && member(row) ? "member" : null}, columns.map((column, index) => {
    const value = column.value(row);
    const text = column.text ? column.text(row) : hw.number(value);
    const attributes = {class: isNumber[index] ? "number" : null, "data-column": column.name};
    if (value !== null && value !== undefined) attributes["data-value"] = JSON.stringify(value);
    if (typeof value === "number" && text !== String(value)) attributes.title = String(value);
    return hw.el("td", attributes, column.link ? column.link(row) : text);
  })));
  return hw.el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? "table"},
    hw.el("table", {}, hw.el("thead", {}, hw.el("tr", {}, head)), hw.el("tbody", {}, body)));
};

// Draws a chart into its place. Plot's own style element is left out: the page's policy allows style files only.
hw.draw = (place, label, options) => {
  const width = Math.max(Math.min(place.clientWidth || 800, 1200), 280);
  const node = Plot.plot({
    width, marginLeft: 56, marginRight: 16, marginBottom: 40, className: "plot",
    style: {background: "transparent", color: "currentColor", overflow: "visible"}, ...options(width),
  });
  for (const style of node.querySelectorAll("style")) style.remove();
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", label);
  place.replaceChildren(node);
  return node;
};

// Of many items, one per cell of a grid of pixels, so that no more is drawn than can be seen. The cells grow until at most
// `most` items are left.
hw.thinned = (items, place, cell = 4, most = 1500) => {
  let kept = items;
  for (let side = cell; kept.length > most; side *= 1.3) {
    const taken = new Set();
    kept = kept.filter((item) => {
      const [x, y] = place(item), key = Math.round(x / side) * 65536 + Math.round(y / side);
      return !taken.has(key) && taken.add(key);
    });
  }
  return kept;
};

hw.isLog = (values) => {
  const [low, high] = d3.extent(values);
  return low > 0 && high / low >= 20;
};

// The axis of a parameter with a range, by its scale ("linear" or "log"): at most about six ticks, so that no two labels
// meet, and none between two integers.
hw.rangeAxis = (type, values) => {
  const [low, high] = d3.extent(values), decades = type === "log" ? Math.log10(high / low) : 0;
  const every = Math.ceil(decades / 5), first = Math.floor(Math.log10(low));
  const powers = d3.range(first, Math.ceil(Math.log10(high)) + 1, every || 1).flatMap((power) => (decades < 2.5 ? [1, 3] : [1]).map((digit) => Number(`${digit}e${power}`)));
  const all = decades < 1 ? d3.ticks(low, high, 5) : powers, areIntegers = values.every(Number.isInteger);
  const ticks = all.filter((tick) => tick >= low && tick <= high && (!areIntegers || Number.isInteger(tick)));
  return {type, ticks: ticks.length > 1 ? ticks : [low, high], tickFormat: "~g"};
};

hw.legend = (items) => hw.el("ul", {class: "legend"}, items.map(({symbol, fill, stroke, text, line, opacity}) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-8 -7 16 14");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const shapes = {circle: d3.symbolCircle, square: d3.symbolSquare, triangle: d3.symbolTriangle, diamond: d3.symbolDiamond,
    star: d3.symbolStar, plus: d3.symbolPlus, times: d3.symbolTimes};
  path.setAttribute("d", line ? "M-8,0H8" : symbol === "bar" ? "M-7,-5h14v10h-14z" : symbol === "arrow" ? "M-5,-6L6,0L-5,6z" : d3.symbol(shapes[symbol ?? "circle"], 60)());
  path.setAttribute("fill", line ? "none" : fill ?? "none");
  if (opacity) path.setAttribute("opacity", opacity);
  path.setAttribute("stroke", stroke ?? fill ?? "currentColor");
  path.setAttribute("stroke-width", line ? 2 : 1.4);
  svg.append(path);
  return hw.el("li", {}, svg, text);
}));
