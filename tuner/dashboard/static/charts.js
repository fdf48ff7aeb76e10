// Draws the pictures of a page. What is in them comes as plain data beside each; here are only colours, and how
// numbers are written.
"use strict";
(() => {
  const charts = new Map();
  const probe = document.createElement("span");
  probe.hidden = true;

  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const digits = (value, most) => Number(value.toPrecision(most)).toLocaleString("en-US", { maximumFractionDigits: 9 });
  const formats = {
    plain: (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") : digits(value, 4)),
    share: (value) => `${digits(value * 100, 3)}%`,
    seconds: (value) => {
      if (value >= 1) return `${digits(value, 3)} s`;
      return value >= 1e-3 ? `${digits(value * 1e3, 3)} ms` : `${digits(value * 1e6, 3)} µs`;
    },
  };

  // Names become what they stand for: "@pass" a colour, {format} and {valueFormat} functions.
  const resolve = (value) => {
    if (typeof value === "string") return value.startsWith("@") ? colour(value.slice(1)) : value;
    if (Array.isArray(value)) return value.map(resolve);
    if (value === null || typeof value !== "object") return value;
    const { format, valueFormat, told, ...rest } = value;
    const found = Object.fromEntries(Object.entries(rest).map(([key, one]) => [key, resolve(one)]));
    if (format) found.formatter = formats[format];
    if (valueFormat) found.valueFormatter = (one) => (one == null ? "" : formats[valueFormat](one));
    if (told) found.formatter = (one) => (one.data && one.data.text) || one.name || "";
    return found;
  };

  const dressed = (option) => {
    const ink = colour("ink"), soft = colour("soft"), edge = colour("edge"), card = colour("card");
    const many = (found) => (Array.isArray(found) ? found : found ? [found] : []);
    const axis = (one, across) => ({
      ...one,
      nameGap: across ? 26 : 10,
      nameTextStyle: { color: soft },
      axisLine: { lineStyle: { color: soft } },
      axisLabel: { color: soft, hideOverlap: true, ...one.axisLabel },
      splitLine: { lineStyle: { color: edge } },
      minorSplitLine: { show: false },
    });
    return {
      ...option,
      animation: false,
      textStyle: { color: ink, fontFamily: "system-ui, sans-serif" },
      grid: { left: 8, right: 18, top: option.legend && option.legend.show ? 34 : 16, bottom: 8, outerBoundsMode: "same", outerBoundsContain: "all" },
      legend: { show: false, ...option.legend, type: "scroll", top: 0, left: 0, itemWidth: 16, itemHeight: 10, symbolKeepAspect: true, textStyle: { color: ink }, pageTextStyle: { color: ink } },
      xAxis: many(option.xAxis).map((one) => axis(one, true)),
      yAxis: many(option.yAxis).map((one) => axis(one, false)),
      tooltip: { ...option.tooltip, renderMode: "richText", confine: true, backgroundColor: card, borderColor: edge, textStyle: { color: ink, fontSize: 12 } },
    };
  };

  const draw = (place) => {
    const name = place.dataset.picture;
    const source = document.querySelector(`script[data-option="${CSS.escape(name)}"]`);
    if (!source) return;
    const known = charts.get(name);
    const text = source.textContent;
    if (known && known.place === place && known.text === text) return;
    if (known && known.place !== place) known.chart.dispose();
    place.style.height = `${place.dataset.height}px`;
    const chart = known && known.place === place ? known.chart : echarts.init(place, null, { renderer: "canvas" });
    chart.setOption(dressed(resolve(JSON.parse(text))), true);
    if (!known || known.place !== place) {
      chart.on("click", (one) => { if (one.data && one.data.href) location.assign(one.data.href); });
      new ResizeObserver(() => chart.resize()).observe(place);
    }
    charts.set(name, { chart, place, text });
  };

  const drawAll = () => document.querySelectorAll(".chart[data-picture]").forEach(draw);
  const again = () => { charts.forEach((one) => { one.text = ""; }); drawAll(); };

  document.addEventListener("DOMContentLoaded", () => {
    document.body.append(probe);
    drawAll();
    document.addEventListener("htmx:after:swap", drawAll);
    document.addEventListener("tuner:theme", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  });
})();
