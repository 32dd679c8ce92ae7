// Draws the numbers that pages carry: `[[seconds], [first], [second], …]`, stacked, in the tones and
// by the names that the page gives them; and writes them into a table for those who cannot see it.
"use strict";

(() => {
  // Seconds between two marks of time.
  const steps = [1, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 604800, 2592000];
  // As the server writes times: 24 hours.
  const lang = { en: "en-GB" }[document.documentElement.lang] ?? document.documentElement.lang;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function readSeries(id) {
    const text = document.getElementById(id)?.textContent.trim();
    if (!text) return null;
    const [times, ...parts] = JSON.parse(text);
    // Each lies over the sum of itself and all behind it, so all can be read against the one axis.
    const above = parts.map((_, place) => times.map((__, index) =>
      parts.slice(place).reduce((sum, part) => sum + part[index], 0)));
    return [times, ...above];
  }

  function clockOf(box, series, day) {
    const span = series[0].at(-1) - series[0][0];
    const seconds = span < 600 ? { second: "2-digit" } : {};
    return new Intl.DateTimeFormat(lang, {
      ...(span > 86400 ? day : {}), hour: "2-digit", minute: "2-digit", ...seconds, timeZone: box.dataset.zone,
    });
  }

  // Only what differs is touched: whoever reads the table stays where they are.
  function tell(box, series) {
    const body = box.closest("[data-chart-box]").querySelector("[data-chart-table] tbody");
    const clock = clockOf(box, series, { day: "numeric", month: "short" });
    const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
    while (body.rows.length > series[0].length) body.deleteRow(-1);
    series[0].forEach((at, index) => {
      const row = body.rows[index] ?? addRow(body, series.length);
      const told = [clock.format(at * 1000), ...series.slice(1).map((part) => number.format(part[index]))];
      told.forEach((text, place) => {
        if (row.cells[place].textContent !== text) row.cells[place].textContent = text;
      });
    });
  }

  function addRow(body, length) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    row.append(head, ...Array.from({ length: length - 1 }, () => document.createElement("td")));
    return row;
  }

  function draw(box) {
    const series = readSeries(box.dataset.chart);
    box.closest("[data-chart-box]").hidden = series === null;
    box.replaceChildren();
    if (series === null) return null;
    tell(box, series);
    const zone = box.dataset.zone;
    const clock = clockOf(box, series, {});
    const exact = new Intl.DateTimeFormat(lang, {
      hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: zone,
    });
    const number = new Intl.NumberFormat(lang, { notation: "compact", maximumFractionDigits: 1 });
    const axis = {
      stroke: colour("--muted"),
      font: "11px " + getComputedStyle(document.body).fontFamily,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const bars = uPlot.paths.bars({ size: [1, 160], gap: 1 });
    const told = (_, n) => (n === null ? "–" : number.format(n));
    return new uPlot(
      {
        width: box.clientWidth,
        height: 120,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
        legend: { live: true },
        cursor: { y: false, points: { show: false }, drag: { setScale: false } },
        scales: { x: { range: (plot) => padded(plot.data[0]) }, y: { range: (_, __, most) => [0, (most || 1) * 1.1] } },
        axes: [
          { ...axis, size: 24, space: 80, incrs: (plot) => marksOf(plot.data[0]), values: (_, splits) => splits.map((at) => clock.format(at * 1000)) },
          { ...axis, size: 44, space: 28, values: (_, splits) => splits.map((n) => number.format(n)) },
        ],
        series: [
          { value: (_, at) => (at === null ? "" : exact.format(at * 1000)), label: box.dataset.time },
          ...box.dataset.labels.split("|").map((label, place) => {
            const tone = colour("--bar-" + box.dataset.tones.split("|")[place]);
            return { label, stroke: tone, width: 0, fill: tone, paths: bars, points: { show: false }, value: told };
          }),
        ],
      },
      series,
      box,
    );
  }

  function stepOf(times) {
    return times.length > 1 ? times[1] - times[0] : 60;
  }

  function marksOf(times) {
    // Never closer than the bars.
    return steps.filter((one) => one >= stepOf(times));
  }

  function padded(times) {
    // Half a bar on both sides; a single one stands in the middle.
    const step = stepOf(times);
    return [times[0] - step / 2, times.at(-1) + step / 2];
  }

  function begin(box) {
    let plot = draw(box);
    const redraw = () => { plot?.destroy(); plot = draw(box); };
    const renew = () => {
      const series = readSeries(box.dataset.chart);
      if (plot !== null && series !== null) {
        plot.setData(series);
        tell(box, series);
      } else redraw();
    };
    new MutationObserver(renew).observe(document.getElementById(box.dataset.chart), {
      childList: true, characterData: true, subtree: true,
    });
    new ResizeObserver(() => {
      if (plot !== null && box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: 120 });
    }).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  document.querySelectorAll("[data-chart]").forEach(begin);
  // Also those that come later, with a piece of the page.
  document.addEventListener("htmx:afterSettle", (event) => {
    event.detail.target.querySelectorAll("[data-chart]").forEach(begin);
  });
})();
