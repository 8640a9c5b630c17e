"use strict";
// Charts of a page: each figure's panels as uPlot draws them, with one key below all of them.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const HEIGHT = 230, LEAD = 200, LOW = 165;

  // Black and dark grey lines would vanish on a dark page; colours are raised little, as blue and sky blue must differ.
  const shade = (colour) => {
    if (!dark.matches) return colour;
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const light = 0.3 * parts[0] + 0.59 * parts[1] + 0.11 * parts[2];
    if (light > 95) return colour;
    const grey = Math.max(...parts) - Math.min(...parts) < 24;
    const raised = grey ? parts.map((one) => 235 - one * 0.7) : parts.map((one) => one + (255 - one) * 0.15);
    return "#" + raised.map((one) => Math.round(one).toString(16).padStart(2, "0")).join("") + colour.slice(7);
  };

  const short = (value) => {
    if (value === null || value === undefined) return "";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
      return value.toExponential(2).replace(/\.?0*e/, "e").replace("e+", "e").replace("-", "−");
    }
    return String(Number(value.toPrecision(size >= 1000 ? 6 : 3)));
  };

  // A number's width is known before it is drawn: some 6.5 pixels a character, and the tick.
  const roomy = (plot, values) => 14 + 6.5 * Math.max(3, ...(values || []).map((text) => (text || "").length));

  const axis = (log, name, side, size) => ({
    scale: side === 3 ? "y" : "x",
    side,
    label: name || undefined,
    labelSize: name ? 18 : 0,
    labelFont: "12px system-ui, sans-serif",
    font: "11px system-ui, sans-serif",
    size,
    stroke: () => token("--ink"),
    grid: { stroke: () => token("--line"), width: 0.6 },
    ticks: { stroke: () => token("--line"), width: 0.6, size: 5 },
    values: (plot, splits) => splits.map((value) => (value === null ? "" : short(value))),
    ...(log ? { splits: logSplits, filter: (plot, splits) => splits } : {}),
  });

  // Of a logarithmic axis 1, 2 and 5 times the powers of ten; powers alone where there are many.
  const logSplits = (plot, index, low, high) => {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const decades = Math.log10(high / low);
    const leads = decades < 2.2 ? [1, 2, 5] : [1];
    const every = Math.ceil(decades / 8);
    const splits = [];
    for (let power = first; power <= last; power += 1) {
      if (leads.length === 1 && power % every) continue;
      for (const lead of leads) splits.push(Number((lead * 10 ** power).toPrecision(1)));
    }
    const inside = splits.filter((value) => value >= low && value <= high);
    return inside.length > 1 ? inside : evenSplits(low, high);
  };

  // Round numbers of a logarithmic axis that holds no power of ten.
  const evenSplits = (low, high) => {
    const size = 10 ** Math.floor(Math.log10((high - low) / 3));
    const step = [1, 2, 5, 10].map((lead) => lead * size).find((one) => (high - low) / one <= 4);
    const splits = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) splits.push(Number(value.toPrecision(6)));
    return splits;
  };

  const WHOLE = [1, 2, 5].flatMap((lead) => [0, 1, 2, 3, 4, 5, 6].map((power) => lead * 10 ** power)).sort((a, b) => a - b);

  // One column of data for every curve, and two more for every band.
  const tables = (chart) => {
    const logX = chart.log.includes("x"), logY = chart.log.includes("y");
    const usable = (values) => values.map((value) => (value === null || (logY && value <= 0) ? null : value));
    const series = [{}], bands = [], joined = [], names = [];
    for (const { x, ...rest } of chart.curves) {
      const curve = { ...rest, x: chart.places[x] };
      const kept = curve.x.map((value) => !logX || value > 0);
      const pick = (values) => usable(values).filter((_, index) => kept[index]);
      const columns = [curve.x.filter((_, index) => kept[index]), pick(curve.y)];
      const points = curve.kind !== "line";
      const index = series.length;
      series.push({
        label: curve.name || "",
        stroke: () => shade(curve.colour),
        width: curve.width || 1.5,
        dash: curve.dash && curve.dash.length ? curve.dash : undefined,
        spanGaps: true,
        paths: points ? () => null : undefined,
        points: points
          ? { show: true, size: 7, width: 1.4, stroke: () => shade(curve.colour), fill: curve.kind === "ghosts" ? () => token("--paper") : () => shade(curve.colour) }
          : { show: columns[0].length === 1, size: 5 },
      });
      names[index] = curve.name;
      if (curve.low && curve.low.length) {
        columns.push(pick(curve.high), pick(curve.low));
        const hidden = { stroke: "transparent", width: 0, spanGaps: true, points: { show: false } };
        series.push({ ...hidden, label: "" }, { ...hidden, label: "" });
        names[index + 1] = names[index + 2] = curve.name;
        bands.push({ series: [index + 1, index + 2], fill: () => shade(curve.colour.slice(0, 7)) + "26" });
      }
      joined.push(columns);
    }
    return { series, bands, data: uPlot.join(joined), names };
  };

  const rules = (chart) => (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = token("--faint");
    ctx.setLineDash([3, 3]);
    const stroke = (x0, y0, x1, y1) => { ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke(); };
    const inside = (value, [low, high]) => value >= low && value <= high;
    for (const x of chart.across.filter((value) => inside(value, chart.range_x))) {
      const at = plot.valToPos(x, "x", true);
      stroke(at, bbox.top, at, bbox.top + bbox.height);
    }
    for (const y of chart.level.filter((value) => inside(value, chart.range_y))) {
      const at = plot.valToPos(y, "y", true);
      stroke(bbox.left, at, bbox.left + bbox.width, at);
    }
    ctx.restore();
  };

  const swatch = (curve) => {
    const colour = shade(curve.colour);
    const mark = curve.kind === "line"
      ? `<line x1="0" y1="5" x2="22" y2="5" stroke="${colour}" stroke-width="2" stroke-dasharray="${(curve.dash || []).join(" ")}"/>`
      : `<circle cx="11" cy="5" r="3.2" stroke="${colour}" stroke-width="1.4" fill="${curve.kind === "ghosts" ? "none" : colour}"/>`;
    return `<svg width="22" height="10" aria-hidden="true">${mark}</svg>`;
  };

  const build = (figure, charts) => {
    const panels = Object.assign(document.createElement("div"), { className: "panels" });
    const list = Object.assign(document.createElement("ul"), { className: "key" });
    const at = Object.assign(document.createElement("p"), { className: "at" });
    at.setAttribute("aria-live", "polite");
    const plots = [], hidden = new Set(), entries = new Map();
    const still = figure.querySelector(".still");

    const tell = (plot, names, chart) => {
      const index = plot.cursor.idx;
      const over = index !== null && index !== undefined;
      at.textContent = over ? `${chart.title ? chart.title + ", " : ""}${chart.x || "x"} ${short(plot.data[0][index])}` : "";
      for (const entry of entries.values()) entry.querySelector(".value").textContent = "";
      if (!over) return;
      names.forEach((name, column) => {
        if (!name || names.indexOf(name) !== column || !entries.has(name)) return;
        const values = plot.data[column];
        let near = index;
        for (let step = 1; values[near] === null || values[near] === undefined; step += 1) {
          if (step > values.length) return;
          near = values[index - step] !== null && values[index - step] !== undefined ? index - step : index + step;
        }
        entries.get(name).querySelector(".value").textContent = short(values[near]);
      });
    };

    for (const chart of charts) {
      const panel = Object.assign(document.createElement("div"), { className: "panel" });
      if (chart.title) panel.append(Object.assign(document.createElement("p"), { className: "title", textContent: chart.title }));
      // Beside a low panel there is no room for it, and letters that lie down are read more easily.
      if (chart.y) panel.append(Object.assign(document.createElement("p"), { className: "upward", textContent: chart.y }));
      const logX = chart.log.includes("x"), logY = chart.log.includes("y");
      const { series, bands, data, names } = tables(chart);
      const counted = chart.places.every((place) => place.every(Number.isInteger));
      const plot = new uPlot({
        width: 300, height: HEIGHT, legend: { show: false }, series, bands,
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
          x: { time: false, distr: logX ? 3 : 1, range: () => chart.range_x },
          y: { distr: logY ? 3 : 1, range: () => chart.range_y },
        },
        axes: [{ ...axis(logX, chart.x, 2, 28), ...(counted ? { incrs: WHOLE } : {}) }, axis(logY, "", 3, roomy)],
        hooks: { draw: [rules(chart)], setCursor: [(plot) => tell(plot, names, chart)] },
      }, data, panel);
      plot.root.setAttribute("role", "img");
      plot.root.setAttribute("aria-label", `${chart.title} ${chart.y} against ${chart.x}. ${still.alt || still.dataset.alt}`);
      plots.push([plot, panel, names]);
      panels.append(panel);
    }

    const toggle = (name) => {
      if (hidden.has(name)) hidden.delete(name); else hidden.add(name);
      for (const [plot, , names] of plots) {
        names.forEach((one, index) => { if (one === name) plot.setSeries(index, { show: !hidden.has(name) }); });
      }
      entries.get(name).querySelector("button").setAttribute("aria-pressed", String(!hidden.has(name)));
    };
    const curves = charts.flatMap((chart) => chart.curves).filter((curve) => curve.name);
    for (const curve of curves) {
      if (entries.has(curve.name)) continue;
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button", title: "Hide or show" });
      button.setAttribute("aria-pressed", "true");
      button.innerHTML = swatch(curve);
      button.append(curve.name, Object.assign(document.createElement("span"), { className: "value" }));
      button.addEventListener("click", () => toggle(curve.name));
      item.classList.toggle("grey", curve.colour === "#b3b3b3");
      item.append(button);
      list.append(item);
      entries.set(curve.name, item);
    }
    if (list.querySelector(".grey")) {  // the first screen has no room for the name of each
      list.append(Object.assign(document.createElement("li"), { className: "rest", textContent: "grey: others" }));
    }
    figure.classList.add("live");
    still.before(panels, list, at);
    const fit = () => {
      for (const [plot, panel] of plots) {
        const height = figure.closest(".lead") ? (innerWidth < 700 ? LOW : LEAD) : HEIGHT;
        const width = Math.floor(panel.clientWidth);
        if (width > 0 && (plot.width !== width || plot.height !== height)) plot.setSize({ width, height });
      }
    };
    new ResizeObserver(fit).observe(panels);
    fit();
    dark.addEventListener("change", () => {
      plots.forEach(([plot]) => plot.redraw());
      for (const curve of curves) entries.get(curve.name).querySelector("svg").outerHTML = swatch(curve);
    });
  };

  // A figure is drawn when it comes into sight: a report may have thirty.
  const watch = new IntersectionObserver((seen) => {
    for (const one of seen.filter((entry) => entry.isIntersecting)) {
      watch.unobserve(one.target);
      build(one.target, JSON.parse(one.target.querySelector("script.charts").textContent));
    }
  }, { rootMargin: "400px" });
  document.querySelectorAll("script.charts").forEach((script) => watch.observe(script.parentElement));
})();
