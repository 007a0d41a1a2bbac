// The lag of the last half hour, drawn as a line that begins at zero; a dashed line where it is worth a warning.
(() => {
  "use strict";
  const host = document.getElementById("lag");
  const note = document.getElementById("chart-note");
  const place = document.getElementById("chart-lag");
  const read = document.getElementById("read-lag");
  const zone = host.dataset.zone;
  const warn = Number(host.dataset.warn);
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone });
  const exact = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: zone });
  let data = null;
  let plot = null;

  const words = (seconds) => {
    if (seconds === null) return "\u2013";
    if (seconds < 1) return Math.round(seconds * 1000) + " ms";
    return seconds < 10 ? seconds.toFixed(1) + " s" : Math.round(seconds) + " s";
  };
  const tell = (index) => {
    if (!data || index === null || index === undefined) return;
    const small = document.createElement("small");
    small.textContent = index === data.times.length - 1 ? "now" : exact.format(data.times[index] * 1000);
    read.replaceChildren(words(data.lag[index]), small);
  };
  const latest = () => {
    for (let index = data.lag.length - 1; index >= 0; index--) if (data.lag[index] !== null) return index;
    return data.lag.length - 1;
  };
  const draw = () => {
    plot?.destroy();
    plot = null;
    if (!data) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = "11px " + getComputedStyle(document.body).fontFamily;
    const axis = { stroke: color("--muted"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const most = Math.max(...data.lag.map((value) => value ?? 0));
    const top = Math.max(1, most * 1.15);
    plot = new uPlot(
      {
        width: place.clientWidth,
        height: place.clientHeight,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        hooks: { setCursor: [(drawn) => tell(drawn.cursor.idx ?? latest())] },
        scales: { x: { time: true }, y: { range: () => [0, top] } },
        axes: [
          { ...axis, grid: { show: false }, size: 26, gap: 6, incrs: [300, 600, 900], space: 48,
            values: (_drawn, splits) => splits.map((split) => clock.format(split * 1000)) },
          { ...axis, size: 46, gap: 6, space: 28, values: (_drawn, splits) => splits.map((split) => +split.toFixed(2) + " s") },
        ],
        series: [
          {},
          { stroke: color("--brass"), fill: color("--brass-wash"), width: 2, points: { show: false } },
          { stroke: color("--amber"), width: 1, dash: [4, 4], points: { show: false } },
        ],
      },
      [data.times, data.lag, data.times.map(() => (most > warn / 3 ? warn : null))],
      place,
    );
    const last = latest();
    tell(last);
    place.setAttribute("aria-label", `Seconds from commit to visible over the last 30 minutes. The last: ${words(data.lag[last])}.`);
  };

  window.countroomLive(host.dataset.url, (fresh) => {
    host.hidden = !fresh.available;
    note.hidden = !fresh.note;
    note.textContent = fresh.note ?? "";
    if (!fresh.available) return;
    const held = plot ? plot.cursor.left : -1;
    data = fresh;
    draw();
    if (held >= 0) plot?.setCursor({ left: held, top: 1 });
  });
  new ResizeObserver(() => {
    if (plot && place.clientWidth !== plot.width) draw();
  }).observe(host);
  document.addEventListener("themechange", draw);
})();
