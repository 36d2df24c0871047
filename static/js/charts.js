// Charts: ECharts with our tokens. Data lies in the element's data-values; tooltips are DOM nodes, so that a strict
// Content-Security-Policy holds. Figures in tooltips and on axes are written by the rules of the page.
(() => {
  "use strict";
  const drawn = new Map();
  const probe = document.createElement("span");
  probe.hidden = true;

  // A token's present value: computed, because light-dark() is not resolved in the custom property itself.
  function token(name) {
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }
  const text = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const fixed = (value, digits) =>
    value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  function short(value) {
    for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) < size * 0.9995) continue;
      const scaled = value / size;
      return fixed(scaled, scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2) + unit;
    }
    return fixed(value, 0);
  }
  function money(value) {
    if (value >= 999999.5) return `$${fixed(value / 1e6, 2)}M`;
    if (value >= 99.995) return `$${fixed(value, 0)}`;
    if (value >= 0.99995 || value === 0) return `$${fixed(value, 2)}`;
    return value < 0.00005 ? "<$0.0001" : `$${fixed(value, 4)}`;
  }
  const write = { money, short, count: (value) => fixed(value, 0) };
  function axis(kind) {
    return (value) => {
      if (value === 0) return "0";
      const sign = kind === "money" ? "$" : "";
      if (value >= 1000) return sign + short(value).replace(/\.?0+(?=[kMBT])/, "");
      return sign + String(Number(value.toPrecision(3)));
    };
  }

  function make(tag, className, content) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (content !== undefined) node.textContent = content;
    return node;
  }
  // rows: [label, figure, colour number or null, class]
  function tip(title, rows) {
    const table = make("table");
    table.append(make("caption", "", title));
    for (const [label, figure, colour, className] of rows) {
      const row = make("tr", className ?? "");
      const name = make("td");
      if (colour !== null) name.append(make("span", `mw-sw mw-c${colour}`));
      name.append(label);
      row.append(name, make("td", "", figure));
      table.append(row);
    }
    const box = make("div", "mw-tip");
    box.append(table);
    return box;
  }

  function base(kind) {
    const quiet = token("--mw-ink-3");
    return {
      textStyle: { fontFamily: text("--mw-sans"), fontSize: 12, color: quiet },
      animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      animationDuration: 250,
      grid: { left: 4, right: 8, top: 14, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      xAxis: {
        type: "category",
        axisTick: { show: false },
        axisLine: { lineStyle: { color: token("--mw-line-2") } },
        axisLabel: { color: quiet, fontSize: 12, hideOverlap: true, margin: 8 },
      },
      yAxis: {
        type: "value",
        min: 0,
        splitNumber: 4,
        minInterval: kind === "money" ? 0 : 1,
        axisLabel: { color: quiet, fontSize: 12, margin: 8, formatter: axis(kind) },
        splitLine: { lineStyle: { color: token("--mw-gridline") } },
      },
      tooltip: {
        trigger: "axis",
        confine: true,
        transitionDuration: 0,
        backgroundColor: token("--mw-raised"),
        borderColor: token("--mw-line-2"),
        borderWidth: 1,
        padding: [8, 10],
        className: "mw-tip-box",
        axisPointer: { type: "line", lineStyle: { color: token("--mw-edge"), type: "solid", width: 1 } },
      },
    };
  }

  const kinds = {
    // {labels, titles, series: [{name, c, v}], ghost: [..] | null, ghost_name, partial, kind}
    stack(data) {
      const option = base(data.kind);
      const panel = token("--mw-surface");
      const lastIndex = data.labels.length - 1;
      option.xAxis.data = data.labels;
      // A label for each week where there are many days, so that the axis reads as weeks.
      option.xAxis.axisLabel.hideOverlap = true;
      option.xAxis.axisLabel.interval = (index) => data.marks.includes(index);
      option.tooltip.axisPointer = { type: "shadow", shadowStyle: { color: token("--mw-hover"), opacity: 0.7 }, z: -1 };
      option.series = data.series.map((series) => {
        const colour = token(`--mw-s${series.c}`);
        return {
          name: series.name,
          type: "bar",
          stack: "all",
          barCategoryGap: "26%",
          barMaxWidth: 34,
          color: colour,
          emphasis: { disabled: true },
          itemStyle: { borderColor: panel, borderWidth: 0.75 },
          data: series.v.map((value, index) =>
            index === lastIndex && data.partial
              ? {
                  value,
                  itemStyle: {
                    color: colour,
                    decal: { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: -Math.PI / 4, color: panel },
                  },
                }
              : value,
          ),
        };
      });
      if (data.ghost) {
        option.series.push({
          name: data.ghost_name,
          type: "custom",
          silent: true,
          clip: true,
          z: 6,
          encode: { x: 0, y: 1 },
          data: data.ghost.map((value, index) => [index, value]),
          renderItem: (_, api) => {
            const [x, y] = api.coord([api.value(0), api.value(1)]);
            const width = Math.min(api.size([1, 0])[0] * 0.74, 34) + 2;
            return {
              type: "rect",
              shape: { x: Math.round(x - width / 2), y: Math.round(y) - 1, width, height: 2 },
              style: { fill: token("--mw-ink"), stroke: panel, lineWidth: 2, strokeFirst: true },
            };
          },
        });
      }
      option.tooltip.formatter = (points) => {
        const index = points[0].dataIndex;
        const figure = write[data.kind];
        const sum = data.series.reduce((total, series) => total + series.v[index], 0);
        const rows = data.series
          .filter((series) => series.v[index])
          .map((series) => [series.name, figure(series.v[index]), series.c]);
        rows.push(["All", figure(sum), null, "mw-tot"]);
        if (data.ghost) rows.push([data.ghost_name, figure(data.ghost[index]), null, "mw-q"]);
        return tip(data.titles[index] + (index === lastIndex && data.partial ? ", so far" : ""), rows);
      };
      return option;
    },

    // the data of a stack as lines, without adding up; four weeks earlier stays a table's matter
    lines(data) {
      const option = base(data.kind);
      option.xAxis.data = data.labels;
      option.xAxis.boundaryGap = false;
      option.xAxis.axisLabel.interval = (index) => data.marks.includes(index);
      option.grid.right = 16;
      const last = data.labels.length - 1;
      const whole = data.partial && last > 1 ? last : last + 1;
      option.series = data.series.map((series) => {
        const colour = token(`--mw-s${series.c}`);
        return {
          name: series.name,
          type: "line",
          symbol: "circle",
          showSymbol: data.labels.length < 3,
          color: colour,
          lineStyle: { color: colour, width: 2 },
          itemStyle: { color: colour },
          emphasis: { disabled: true },
          data: series.v.slice(0, whole),
        };
      });
      option.tooltip.formatter = (points) => {
        const index = points[0].dataIndex;
        const rows = data.series
          .filter((series) => series.v[index])
          .sort((a, b) => b.v[index] - a.v[index])
          .map((series) => [series.name, write[data.kind](series.v[index]), series.c]);
        return tip(data.titles[index], rows);
      };
      return option;
    },

    // {labels, titles, now: [..], before: [..] | null, now_name, before_name, kind}
    cumulative(data) {
      const option = base(data.kind);
      const accent = token("--mw-accent");
      option.xAxis.data = data.labels;
      option.xAxis.boundaryGap = false;
      option.xAxis.axisLabel.interval = (index) => data.marks.includes(index);
      option.grid.right = 16;
      option.series = [];
      if (data.before) {
        option.series.push({
          type: "line",
          data: data.before,
          symbol: "none",
          silent: true,
          lineStyle: { color: token("--mw-ghost"), width: 1.5 },
          z: 2,
        });
      }
      const end = data.now.length - 1;
      option.series.push({
        type: "line",
        data: data.now,
        symbol: "circle",
        showSymbol: false,
        lineStyle: { color: accent, width: 2.5 },
        itemStyle: { color: accent },
        areaStyle: { color: accent, opacity: 0.06 },
        z: 5,
        markPoint: {
          symbol: "circle",
          symbolSize: 9,
          silent: true,
          itemStyle: { color: accent, borderColor: token("--mw-surface"), borderWidth: 2 },
          label: { show: false },
          data: end >= 0 ? [{ coord: [end, data.now[end]] }] : [],
        },
      });
      option.tooltip.formatter = (points) => {
        const index = points[0].dataIndex;
        const figure = write[data.kind];
        const rows = [];
        if (index <= end) rows.push([data.now_name, figure(data.now[index]), null]);
        if (data.before) rows.push([data.before_name, figure(data.before[index]), null, "mw-q"]);
        return tip(data.titles[index], rows);
      };
      return option;
    },
  };

  function draw(from = document) {
    for (const node of from.querySelectorAll("[data-chart]")) {
      drawn.get(node)?.dispose();
      node.replaceChildren();
      const chart = echarts.init(node, null, { renderer: "canvas" });
      chart.setOption(kinds[node.dataset.chart](JSON.parse(node.dataset.values)));
      drawn.set(node, chart);
      node.dataset.drawn = "";
    }
    for (const [node, chart] of drawn) {
      if (node.isConnected) continue;
      chart.dispose();
      drawn.delete(node);
    }
  }

  let pause;
  new ResizeObserver(() => {
    clearTimeout(pause);
    pause = setTimeout(() => drawn.forEach((chart) => chart.resize()), 60);
  }).observe(document.body);
  document.addEventListener("mw:theme", () => draw());
  document.body.addEventListener("htmx:afterSettle", (event) => draw(event.detail.elt.parentElement ?? document));
  document.fonts.ready.then(() => draw());
})();
