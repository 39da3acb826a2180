// Keeps the page up to date: when the feed says that the ledger has grown, fetches this page again
// and replaces the parts that changed. Without this script the page is the same, until reloaded.
"use strict";
(() => {
  const LEAST_PAUSE_MS = 400;
  const status = document.getElementById("link");
  const news = document.getElementById("news");
  let source = null;
  let timer = null;
  let running = false;
  let again = false;
  let pause = LEAST_PAUSE_MS;

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
    again = false;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
          const now = fresh.getElementById(part.id);
          if (now) replace(part, now);
        }
        document.dispatchEvent(new Event("swarm:recorded"));
      }
    } catch (error) {
      say("no connection", "lost");
    }
    pause = Math.max(LEAST_PAUSE_MS, 3 * (performance.now() - began));
    running = false;
    if (again) soon();
  }

  function soon() {
    again = true;
    if (running || timer !== null) return;
    timer = setTimeout(() => { timer = null; refresh(); }, pause);
  }

  function heard(message) {
    const told = JSON.parse(message.data);
    const kept = told.headlines.filter((each) => each.tone === "kept").map((each) => each.text);
    if (kept.length) news.textContent = kept.join("; ");
    soon();
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
      soon();
    }
  });
  addEventListener("pagehide", () => { if (source) source.close(); source = null; });
  addEventListener("pageshow", listen);
  listen();
})();
