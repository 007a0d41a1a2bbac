// Two charts over one time axis: revenue per minute as bars, bets per minute as a line.
// Figures arrive as decimal strings; they become numbers only to be drawn, never to be shown.
window.countroomCharts = (host) => {
  "use strict";
  const zone = host.dataset.zone;
  const currency = host.dataset.currency;
  const places = { ggr: document.getElementById("chart-ggr"), bets: document.getElementById("chart-bets") };
  const reads = { ggr: document.getElementById("read-ggr"), bets: document.getElementById("read-bets") };
  const when = document.getElementById("chart-when");
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone });
  const cursors = uPlot.sync("minutes");
  let data = null;
  let plots = [];

  const grouped = (text) => {
    const [units, cents] = text.replace("-", "").split(".");
    const apart = units.replace(/\B(?=(\d{3})+$)/g, ",");
    return (text.startsWith("-") ? "\u2212" : "") + apart + (cents ? "." + cents : "");
  };
  const read = (index) => {
    if (!data) return;
    const running = index === data.times.length - 1;
    const minute = running ? "this minute" : clock.format(data.times[index] * 1000);
    reads.ggr.replaceChildren(grouped(data.gross_gaming_revenue[index]) + " " + currency, small(minute));
    reads.bets.replaceChildren(grouped(String(data.bets[index])), small(minute));
  };
  const small = (text) => {
    const part = document.createElement("small");
    part.textContent = text;
    return part;
  };
  const short = (value) => {
    const size = Math.abs(value);
    const text = size >= 1e6 ? +(size / 1e6).toFixed(1) + "M" : size >= 1e4 ? +(size / 1e3).toFixed(1) + "k" : String(+size.toFixed(2));
    return (value < 0 ? "\u2212" : "") + text;
  };

  const draw = () => {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    if (!data) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = "11px " + getComputedStyle(document.body).fontFamily;
    const axis = { stroke: color("--muted"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const base = (place, series, scale, withTimes) => ({
      width: place.clientWidth,
      height: place.clientHeight,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      padding: [8, 6, withTimes ? 0 : 8, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { show: false },
        sync: { key: cursors.key, setSeries: false },
      },
      hooks: { setCursor: [(plot) => read(plot.cursor.idx ?? data.times.length - 1)] },
      scales: { x: { time: true, range: (_plot, least, most) => [least - 30, most + 30] }, y: { range: scale } },
      axes: [
        {
          ...axis,
          grid: { show: false },
          show: withTimes,
          size: 26,
          gap: 6,
          incrs: [300, 600, 900],
          space: 48,
          values: (_plot, splits) => splits.map((split) => clock.format(split * 1000)),
        },
        { ...axis, size: 46, gap: 6, space: 20, values: (_plot, splits) => splits.map(short) },
      ],
      series: [{}, ...series],
    });
    const bars = uPlot.paths.bars({ size: [0.64, 14], radius: 0.16 });
    const around = (_plot, least, most) => {
      const low = Math.min(0, least ?? 0);
      const high = Math.max(0, most ?? 0);
      const room = (high - low) * 0.08 || 1;
      return low === high ? [0, 10] : [low < 0 ? low - room : 0, high + room];
    };
    const revenue = data.gross_gaming_revenue.map(Number);
    const gained = revenue.map((value) => (value >= 0 ? value : null));
    const lost = revenue.map((value) => (value < 0 ? value : null));
    plots = [
      new uPlot(
        base(
          places.ggr,
          [
            { fill: color("--gain"), width: 0, paths: bars, points: { show: false } },
            { fill: color("--loss"), width: 0, paths: bars, points: { show: false } },
          ],
          around,
          false,
        ),
        [data.times, gained, lost],
        places.ggr,
      ),
      new uPlot(
        base(
          places.bets,
          [{ stroke: color("--brass"), fill: color("--brass-wash"), width: 2, points: { show: false } }],
          around,
          true,
        ),
        [data.times, data.bets],
        places.bets,
      ),
    ];
    const last = data.times.length - 1;
    read(last);
    const before = Math.max(0, last - 1);
    places.ggr.setAttribute(
      "aria-label",
      `Gross gaming revenue per minute over 30 minutes. Last full minute: ${grouped(data.gross_gaming_revenue[before])} ${currency}.`,
    );
    places.bets.setAttribute("aria-label", `Bets per minute over 30 minutes. Last full minute: ${data.bets[before]}.`);
  };

  const usual = when.textContent;
  const show = (fresh) => {
    const held = plots.length ? plots[0].cursor.left : -1;
    data = fresh;
    when.textContent = fresh.bets.some((bets) => bets > 0) ? usual : "no bet in these minutes";
    draw();
    if (held >= 0) plots[0]?.setCursor({ left: held, top: 1 });
  };
  new ResizeObserver(() => {
    if (plots.length && places.ggr.clientWidth !== plots[0].width) draw();
  }).observe(host);
  document.addEventListener("themechange", draw);
  return { show };
};
