// Draws the charts from the numbers that the server sends, with Chart.js.
"use strict";
(() => {
  const charts = [];
  const TONES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999"];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function tone(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function clear(colour, share) {
    const part = (at) => parseInt(colour.slice(at, at + 2), 16);
    return `rgba(${part(1)}, ${part(3)}, ${part(5)}, ${share})`;
  }

  function axis(title, more) {
    return {
      title: { display: Boolean(title), text: title, color: tone("--faint") },
      ticks: { color: tone("--faint"), maxRotation: 0 },
      grid: { color: clear(tone("--line"), 0.6), tickColor: "transparent" },
      border: { color: tone("--line") },
      ...more,
    };
  }

  function common(labels, at) {
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "nearest", intersect: true },
      onClick: (event, hit, chart) => {
        const found = hit.map((each) => chart.data.datasets[each.datasetIndex].data[each.index]);
        const first = found.find((each) => each.experiment);
        if (first) location.assign(`${at}/changes/${first.experiment}`);
      },
      onHover: (event, hit, chart) => {
        const found = hit.some((each) => chart.data.datasets[each.datasetIndex].data[each.index].experiment);
        chart.canvas.classList.toggle("clickable", found);
      },
      plugins: {
        legend: {
          position: "top", align: "end",
          labels: {
            color: tone("--text"), boxHeight: 7, padding: 14, usePointStyle: true, pointStyle: "circle",
            sort: (one, other) => one.datasetIndex - other.datasetIndex,
            filter: (item) => !item.text.startsWith("_"),
          },
        },
        tooltip: { displayColors: false, callbacks: { title: () => "", label: labels } },
      },
    };
  }

  function progress(numbers, at) {
    const better = numbers.direction === "minimize" ? "lower" : "higher";
    const some = numbers.every > 1 ? ` (every ${numbers.every}th)` : "";
    const lost = numbers.lost.map((each) => ({ ...each, experiment: each.x }));
    const datasets = [{
      label: `not kept${some}`, type: "scatter", data: lost, order: 9,
      backgroundColor: clear(tone("--faint"), 0.45), borderWidth: 0, radius: 2.2, hoverRadius: 4,
    }];
    for (const [place, island] of numbers.islands.entries()) {
      const edge = (sign) => island.steps.map((each) => ({ x: each.x, y: each.y + sign * each.noise }));
      const band = { stepped: true, borderWidth: 0, radius: 0, hitRadius: 0, hoverRadius: 0, order: 5 };
      datasets.push(
        { ...band, label: "_low", data: edge(-1) },
        { ...band, label: "_high", data: edge(1), fill: "-1", backgroundColor: clear(island.colour, 0.16) },
        {
          label: island.island, data: island.steps, stepped: true, order: 4 - Math.min(place, 3),
          borderDash: place ? [7, 4 + 3 * place] : [],  // islands often share a head
          borderColor: island.colour, backgroundColor: island.colour, borderWidth: 2,
          pointRadius: island.steps.map((each) => (each.experiment ? (each.claimed ? 7 : 4) : 0)),
          pointStyle: island.steps.map((each) => (each.claimed ? "star" : "circle")),
          pointHoverRadius: 7, pointHitRadius: 8,
        },
      );
    }
    const label = (item) => {
      const step = item.raw;
      if (step.gain === undefined) return step.experiment ? `#${step.experiment}: ${step.y.toPrecision(6)}, not kept` : `${item.dataset.label}: ${step.y.toPrecision(6)}`;
      return [`#${step.experiment} kept on ${item.dataset.label}: ${step.y.toPrecision(6)} (${step.gain})`, step.text];
    };
    return {
      type: "line",
      data: { datasets },
      options: {
        ...common(label, at),
        scales: {
          x: axis("experiment", { type: "linear", min: 0, max: Math.max(numbers.last, 1) }),
          y: axis(`${numbers.metric} (${better} is better)`, { min: numbers.limits[0], max: numbers.limits[1], ticks: { color: tone("--faint"), includeBounds: false } }),
        },
      },
    };
  }

  function lanes(numbers, at) {
    const unit = numbers.stop > 7200 ? 3600 : numbers.stop > 120 ? 60 : 1;
    const name = { 1: "seconds", 60: "minutes", 3600: "hours" }[unit];
    const end = (each) => (each.to === null ? numbers.stop : each.to);
    const bars = numbers.purposes.map((purpose) => ({
      label: purpose.purpose,
      type: "bar",
      grouped: false,
      barPercentage: 0.9,
      categoryPercentage: 0.9,
      borderSkipped: false,
      minBarLength: 1,
      data: purpose.trials.map((each) => ({
        x: [each.from / unit, end(each) / unit], y: each.slice,
        trial: each.trial, experiment: each.experiment, state: each.state, taken: each.taken,
        seconds: end(each) - each.from, island: each.island,
      })),
      backgroundColor: purpose.trials.map((each) => clear(purpose.colour, each.state === "voided" ? 0.12 : each.failure ? 0.5 : each.to === null ? 0.6 : 0.95)),
      borderColor: purpose.colour,
      borderWidth: purpose.trials.map((each) => (each.state === "voided" || each.to === null ? 1 : 0)),
    }));
    const label = (item) => {
      const trial = item.raw;
      const subject = trial.experiment ? ` of #${trial.experiment}` : "";
      const others = trial.taken === null ? "" : `, others took ${Math.round(100 * trial.taken)} % of its cores`;
      return `${item.dataset.label} ${trial.trial}${subject} on ${trial.y}: ${trial.state}, ${trial.seconds.toFixed(1)} s${others}`;
    };
    return {
      type: "bar",
      data: { labels: numbers.slices, datasets: bars },
      options: {
        ...common(label, at),
        indexAxis: "y",
        scales: {
          x: axis(`${name} since the first of these trials`, { type: "linear", min: 0, max: numbers.stop / unit || 1 }),
          y: axis("", { stacked: false, grid: { display: false } }),
        },
      },
    };
  }

  function load(numbers, at) {
    const unit = numbers.stop > 7200 ? 3600 : numbers.stop > 120 ? 60 : 1;
    const trials = numbers.purposes.flatMap((each) => each.trials).filter((each) => each.taken !== null);
    trials.sort((one, other) => one.from - other.from);
    const lines = numbers.slices.map((slice, place) => ({
      label: slice, stepped: true, borderWidth: 1.5, pointRadius: 0, pointHitRadius: 6,
      borderColor: TONES[place % TONES.length], backgroundColor: TONES[place % TONES.length],
      data: trials.filter((each) => each.slice === slice).map((each) => ({ x: each.from / unit, y: 100 * each.taken, trial: each.trial })),
    }));
    return {
      type: "line",
      data: { datasets: lines },
      options: {
        ...common((item) => `${item.dataset.label}: others took ${Math.round(item.raw.y)} % during trial ${item.raw.trial}`, at),
        scales: {
          x: axis("", { type: "linear", min: 0, max: numbers.stop / unit || 1 }),
          y: axis("taken by others, %", { min: 0, suggestedMax: 20 }),
        },
      },
    };
  }

  const KINDS = { progress, lanes, load };

  async function fetched(src) {
    try {
      const answer = await fetch(src, { headers: { "Swarm-Least": "1" } });  // as new as this page
      return answer.ok ? await answer.json() : undefined;
    } catch (error) {  // live.js says that there is no connection
      return undefined;
    }
  }

  async function draw(canvas, asked) {
    const numbers = await asked;
    if (numbers === undefined) return;
    const box = canvas.parentElement;
    box.classList.toggle("empty", numbers === null);
    if (numbers === null) return;
    const setting = KINDS[canvas.dataset.chart](numbers, canvas.dataset.at);
    const old = charts.find((each) => each.canvas === canvas);
    if (old) {
      old.data = setting.data;
      old.options = setting.options;
      old.update("none");
    } else {
      charts.push(new Chart(canvas, setting));
    }
  }

  function all() {
    const asked = new Map();
    for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
      const src = canvas.dataset.src;
      if (!asked.has(src)) asked.set(src, fetched(src));
      draw(canvas, asked.get(src));
    }
  }

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  dark.addEventListener("change", all);
  document.addEventListener("swarm:recorded", all);
  all();
})();
