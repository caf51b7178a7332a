// Draws the front as SVG from the JSON beside it: test accuracy against a cost that the reader chooses.
// Without this script the still picture stays in place. Nothing is asked from outside the page.
(() => {
  "use strict";
  const figure = document.getElementById("front-figure");
  const views = JSON.parse(document.getElementById("front-data").textContent);
  const live = figure.querySelector(".front-live");
  const place = figure.querySelector(".front-drawing");
  const tooltip = figure.querySelector(".front-tooltip");
  const says = figure.querySelector(".front-says");
  const ofFile = figure.querySelector(".front-format");
  const marks = figure.querySelectorAll(".front-legend li");
  const showsTrials = figure.querySelector("[name=front-trials]");

  const COLOURS = { best: "#D55E00", point: "#0072B2", dominated: "#0072B2", ensemble: "#A6528A", baseline: "#6b6b6b" };
  const FILLED = new Set(["best", "point"]);
  const UNITS = {
    bytes: [[1e9, " GB"], [1e6, " MB"], [1e3, " kB"], [1, " bytes"]],
    ms: [[1e3, " s"], [1, " ms"]],
    other: [[1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]],
  };
  const STEPS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]];  // of ticks, in a power of ten
  const LETTER = 7, LINE = 14;  // about the size of a letter, in pixels

  function svg(name, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function chosen(name) {
    return figure.querySelector(`input[name=${name}]:checked`).value;
  }

  function chosenView() {
    const cost = chosen("front-cost");
    const isOfFile = cost === "bytes" || cost === "ms";
    ofFile.disabled = !isOfFile;
    if (showsTrials) showsTrials.disabled = isOfFile;
    const key = isOfFile ? `${cost} ${chosen("front-format")}` : cost;
    return views.find(view => view.key === key);
  }

  function tickLabel(cost, value) {
    const units = UNITS[cost] || UNITS.other;
    const [factor, unit] = units.find(([factor]) => value >= factor) || units.at(-1);
    return `${Number((value / factor).toPrecision(2))}${unit}`;
  }

  // The densest ticks of a logarithmic axis whose labels do not touch.
  function logTicks(low, high, cost, toX) {
    let best = [];
    for (const steps of STEPS) {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const step of steps) {
          const value = step * 10 ** power;
          if (value >= low && value <= high) ticks.push(value);
        }
      }
      const widths = ticks.map(value => LETTER * tickLabel(cost, value).length);
      const fit = ticks.every((value, i) =>
        i === 0 || toX(value) - toX(ticks[i - 1]) > (widths[i] + widths[i - 1]) / 2 + 8);
      if (fit && ticks.length >= best.length) best = ticks;
    }
    return best;
  }

  // About five round places between two accuracies.
  function accuracyTicks(low, high) {
    const rough = 10 ** Math.floor(Math.log10((high - low) / 4));
    const step = [1, 2, 5, 10].map(factor => factor * rough).find(step => (high - low) / step <= 7);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= Math.min(high, 1); i++) ticks.push(i * step);
    const digits = Math.max(0, -Math.floor(Math.log10(100 * step) + 1e-9));
    return ticks.map(value => [value, (100 * value).toFixed(digits)]);
  }

  function shape(kind, x, y) {
    const style = { fill: FILLED.has(kind) ? COLOURS[kind] : "#fff", stroke: COLOURS[kind], "stroke-width": 2 };
    if (kind === "best") return svg("path", { d: `M${x} ${y - 8}l8 8l-8 8l-8 -8z`, ...style });
    if (kind === "ensemble") return svg("rect", { x: x - 5.5, y: y - 5.5, width: 11, height: 11, ...style });
    if (kind === "baseline") return svg("path", { d: `M${x} ${y - 7}l7 12h-14z`, ...style });
    return svg("circle", { cx: x, cy: y, r: 6, ...style });
  }

  // Puts names where they cover no other name: above an interval, else below it, else beside the point, else nowhere.
  function nameplates(networks, box) {
    const taken = networks.map(({ x, y }) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }));
    const plates = [];
    for (const { network, x, y, top, bottom } of networks) {
      const half = LETTER * network.name.length / 2 + 2;
      const middle = Math.min(Math.max(x, box.left + half), box.right - half);
      for (const [centre, line] of [[middle, top - 6], [middle, bottom + LINE], [x + half + 9, y + 4], [x - half - 9, y + 4]]) {
        const plate = { left: centre - half, right: centre + half, top: line - LINE + 3, bottom: line + 3 };
        const isInside = plate.left >= box.left - 2 && plate.right <= box.right + 2
          && plate.top >= box.top && plate.bottom <= box.bottom;
        const isFree = taken.every(it =>
          it.right <= plate.left || it.left >= plate.right || it.bottom <= plate.top || it.top >= plate.bottom);
        if (isInside && isFree) {
          taken.push(plate);
          plates.push(svg("text", { x: centre, y: line, "text-anchor": "middle", fill: COLOURS[network.kind] }, network.name));
          break;
        }
      }
    }
    return plates;
  }

  function showTooltip({ network, x, top, bottom }) {
    const name = document.createElement("strong");
    name.textContent = network.name;
    const lines = [...network.lines, network.about].map(text => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    });
    tooltip.replaceChildren(name, ...lines);
    tooltip.hidden = false;
    const room = place.clientWidth - tooltip.offsetWidth;
    tooltip.style.left = `${Math.min(Math.max(0, x - tooltip.offsetWidth / 2), Math.max(0, room))}px`;
    const above = top - tooltip.offsetHeight - 24;
    tooltip.style.top = `${above >= 0 ? above : bottom + 24}px`;
  }

  function hideTooltip() {
    tooltip.hidden = true;
  }

  function link(placed) {
    const { network, x, y, top, bottom } = placed;
    const said = [network.name, ...network.lines, network.about].join("; ");
    const element = svg("a", { href: network.link, "aria-label": said, "data-name": network.name });
    if (network.interval) {
      const d = `M${x} ${top}V${bottom}M${x - 5} ${top}h10M${x - 5} ${bottom}h10`;
      element.append(svg("path", { d, stroke: COLOURS[network.kind], "stroke-width": 1.5, fill: "none" }));
    }
    element.append(svg("circle", { class: "front-hit", cx: x, cy: y, r: 14 }), shape(network.kind, x, y));
    for (const event of ["pointerenter", "focus"]) element.addEventListener(event, () => showTooltip(placed));
    for (const event of ["pointerleave", "blur"]) element.addEventListener(event, hideTooltip);
    return element;
  }

  function draw() {
    const view = chosenView();
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    hideTooltip();
    const width = place.clientWidth, height = width < 560 ? 400 : 440;
    const box = { left: 48, right: width - 14, top: 12, bottom: height - 48 };
    const trials = showsTrials && showsTrials.checked ? view.trials : [];
    const costs = [...view.networks.map(network => network.cost), ...trials.map(([cost]) => cost)];
    const middle = Math.sqrt(Math.min(...costs) * Math.max(...costs));
    const low = Math.min(Math.min(...costs) / 1.35, middle / 2), high = Math.max(Math.max(...costs) * 1.35, middle * 2);
    const toX = cost => box.left + (box.right - box.left) * Math.log(cost / low) / Math.log(high / low);
    const toY = accuracy => box.bottom - (box.bottom - box.top) * (accuracy - view.low) / (view.high - view.low);

    const drawing = svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `Accuracy on the test images against ${view.axis}`,
    });
    const axes = svg("g", { "aria-hidden": "true" });
    for (const [value, label] of accuracyTicks(view.low, view.high)) {
      axes.append(svg("path", { class: "front-grid", d: `M${box.left} ${toY(value)}H${box.right}` }));
      axes.append(svg("text", { x: box.left - 6, y: toY(value) + 4, "text-anchor": "end" }, label));
    }
    for (const value of logTicks(low, high, view.cost, toX)) {
      axes.append(svg("path", { class: "front-grid", d: `M${toX(value)} ${box.top}V${box.bottom}` }));
      axes.append(svg("text", { x: toX(value), y: box.bottom + 17, "text-anchor": "middle" }, tickLabel(view.cost, value)));
    }
    axes.append(svg("path", { class: "front-frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
    axes.append(svg("text", { x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, view.axis));
    axes.append(svg("text", {
      transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle",
    }, "accuracy on the test images (%)"));
    for (const [cost, accuracy] of trials) {
      axes.append(svg("circle", { class: "front-trial", cx: toX(cost), cy: toY(accuracy), r: 2.5 }));
    }
    if (view.baseline !== null) {
      axes.append(svg("path", { class: "front-baseline", d: `M${box.left} ${toY(view.baseline)}H${box.right}` }));
    }

    const placed = view.networks.map(network => {
      const [bottom, top] = (network.interval || [network.accuracy, network.accuracy]).map(toY);
      const reach = network.interval ? 0 : 8;
      return { network, x: toX(network.cost), y: toY(network.accuracy), top: top - reach, bottom: bottom + reach };
    });
    const names = svg("g", { class: "front-names", "aria-hidden": "true" }, ...nameplates(placed, box));
    drawing.append(axes, names, ...placed.map(link));
    place.replaceChildren(drawing, tooltip);
    const kinds = new Set(view.networks.map(network => network.kind));
    if (trials.length) kinds.add("trial");
    if (view.baseline !== null) kinds.add("line");
    for (const mark of marks) mark.hidden = !kinds.has(mark.dataset.kind);
    says.textContent = `Shown: ${view.networks.length} networks, accuracy on the test images against ${view.axis}.`;
    if (focused) place.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
  }

  figure.querySelector(".front-still").hidden = true;
  live.hidden = false;
  for (const mark of marks) {
    const kind = mark.dataset.kind;
    const drawn = kind in COLOURS ? shape(kind, 9, 9)
      : kind === "trial" ? svg("circle", { class: "front-trial", cx: 9, cy: 9, r: 2.5 })
      : svg("path", { class: "front-baseline", d: "M0 9H18" });
    mark.prepend(svg("svg", { width: 18, height: 18, "aria-hidden": "true" }, drawn));
  }
  live.addEventListener("change", draw);
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") hideTooltip();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (place.clientWidth !== width) {
      width = place.clientWidth;
      draw();
    }
  }).observe(place);
})();
