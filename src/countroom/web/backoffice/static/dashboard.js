// Keeps the page alive: the chart's figures, and the mark on rounds that just came.
(() => {
  "use strict";
  const host = document.getElementById("charts");
  const note = document.getElementById("chart-note");
  const charts = window.countroomCharts(host);
  window.countroomLive(host.dataset.url, (fresh) => {
    host.hidden = !fresh.available;
    note.hidden = !fresh.note;
    note.textContent = fresh.note ?? "";
    if (fresh.available) charts.show(fresh);
  });

  const rounds = document.getElementById("rounds");
  const known = new Set([...rounds.querySelectorAll("tbody tr")].map((row) => row.id));
  new MutationObserver(() => {
    for (const row of rounds.querySelectorAll("tbody tr")) {
      if (!known.has(row.id)) {
        known.add(row.id);
        row.classList.add("fresh");
      }
    }
    if (known.size > 2000) {
      known.clear();
      for (const row of rounds.querySelectorAll("tbody tr")) known.add(row.id);
    }
  }).observe(rounds, { childList: true, subtree: true, attributes: true, attributeFilter: ["id"] });
})();
