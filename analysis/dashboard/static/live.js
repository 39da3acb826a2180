// Keeps the page up to date: when the feed says that the ledger has grown, fetches this page again
// and replaces the parts that changed. Without this script the page is the same, until reloaded.
"use strict";
(() => {
  const KEPT_MS = 150;  // a kept change shows at once, anything else at leisure
  const PAUSE_MS = 2000;
  const URGENT = ["kept", "steered"];
  const status = document.getElementById("link");
  const news = document.getElementById("news");
  let source = null;
  let timer = null;
  let running = false;
  let told = 0;  // bytes of the ledger by the feed
  let shown = 0;  // and of this page
  let took = 0;
  let urgent = false;
  let early = [];  // kept changes that the feed told of and this page's record may not have yet

  function say(text, look) {
    status.hidden = false;
    status.textContent = text;
    status.className = "link " + look;
  }

  function focused(part) {
    const at = document.activeElement;
    return at && part.contains(at) ? at.getAttribute("href") || at.id : null;
  }

  function replace(old, fresh) {
    if (old.innerHTML === fresh.innerHTML) return;
    const open = [...old.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
    const scrolled = [...old.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    const focus = focused(old);
    const known = new Set([...old.querySelectorAll(".rows > li a")].map((each) => each.getAttribute("href")));
    old.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const each of old.querySelectorAll("details > summary")) {
      if (open.includes(each.textContent)) each.parentElement.open = true;
    }
    old.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = scrolled[place] || 0; });
    for (const link of old.querySelectorAll(".rows > li > a")) {
      if (!known.has(link.getAttribute("href"))) link.parentElement.classList.add("fresh");
    }
    if (focus) {
      const same = [...old.querySelectorAll("[href], [id]")].find(
        (each) => each.getAttribute("href") === focus || each.id === focus);
      if (same) same.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    running = true;
    const began = performance.now();
    const asked = { "Swarm-Least": String(told) };
    if (urgent) asked["Swarm-Now"] = "1";
    urgent = false;
    try {
      const answer = await fetch(location.href, { headers: asked });
      const bytes = Number(answer.headers.get("Swarm-Ledger") || told);
      if (answer.ok && bytes !== shown) {
        shown = bytes;
        show(await answer.text());
      }
    } catch (error) {
      say("no connection", "lost");
    }
    took = performance.now() - began;
    running = false;
    if (urgent || shown < told) later(urgent ? KEPT_MS : PAUSE_MS);  // the server had an older record
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(part.id);
      if (now) replace(part, now);
    }
    early = early.filter((each) => each.bytes > shown);
    early.forEach((each) => list(each.row));
    document.dispatchEvent(new Event("swarm:recorded"));
  }

  // the server escaped it, as it does in the page
  function list(row) {
    const kept = document.getElementById("kept");
    const line = new DOMParser().parseFromString(row, "text/html").querySelector("li");
    if (!kept || !line) return;
    const target = line.querySelector("a").getAttribute("href");
    if ([...kept.querySelectorAll("a")].some((each) => each.getAttribute("href") === target)) return;
    let lines = kept.querySelector("ol");
    if (!lines) {
      lines = document.createElement("ol");
      lines.className = "rows";
      kept.replaceChildren(lines);
    }
    line.classList.add("fresh");
    lines.prepend(document.adoptNode(line));
  }

  function later(wait) {
    const at = performance.now() + (urgent ? wait : Math.max(wait, 3 * took));
    if (timer && timer.at <= at) return;
    if (timer) clearTimeout(timer.id);
    timer = { at, id: setTimeout(due, at - performance.now()) };
  }

  function due() {
    timer = null;
    if (!running) refresh();
  }

  // what matters is written at once; the next record has it among the others
  function write(headline) {
    const feed = document.querySelector("#headlines .feed");
    if (!feed) return;
    const line = document.createElement("li");
    const time = document.createElement("time");
    const text = document.createElement(headline.experiment ? "a" : "bdi");
    line.className = headline.tone + " fresh";
    time.textContent = headline.time;
    text.textContent = headline.text;
    if (headline.experiment) text.href = location.pathname + "/changes/" + headline.experiment;
    line.append(time, text);
    feed.prepend(line);
  }

  function heard(message) {
    const recorded = JSON.parse(message.data);
    told = recorded.bytes;
    const kept = recorded.headlines.filter((each) => each.tone === "kept").map((each) => each.text);
    if (kept.length) news.textContent = kept.join("; ");
    recorded.headlines.filter((each) => URGENT.includes(each.tone)).forEach(write);
    for (const each of recorded.headlines.filter((one) => one.row)) {
      early.push({ row: each.row, bytes: told });
      list(each.row);
    }
    urgent = urgent || recorded.headlines.some((each) => URGENT.includes(each.tone));
    if (urgent || told !== shown) later(urgent ? KEPT_MS : PAUSE_MS);
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource(document.body.dataset.feed);
    source.addEventListener("open", () => say("live", "live"));
    source.addEventListener("error", () => say("no connection", "lost"));
    source.addEventListener("recorded", heard);
  }

  // a browser has six connections to a host, which hidden tabs must not use up
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      if (source) source.close();
      source = null;
    } else {
      listen();
      later(KEPT_MS);
    }
  });
  addEventListener("pagehide", () => { if (source) source.close(); source = null; });
  addEventListener("pageshow", listen);
  listen();
})();
