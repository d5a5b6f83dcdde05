// What the page does by itself: says whether it is live, keeps relative times true, announces changes.
(() => {
  "use strict";
  const STALE_AFTER = 30_000;
  const ANNOUNCE_EVERY = 10_000;
  const root = document.documentElement;
  root.classList.add("js");

  // Relative times: same words as the server's `ago` filter.
  const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  function duration(seconds) {
    const at = UNITS.findIndex(([, size]) => seconds >= size);
    if (at < 0) return "0 s";
    const [unit, size] = UNITS[at];
    const whole = Math.floor(seconds / size);
    const next = UNITS[at + 1];
    const rest = next && whole < 10 ? Math.floor((seconds % size) / next[1]) : 0;
    return rest ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
  }
  function refreshTimes() {
    for (const element of document.querySelectorAll("time[data-ago], time[data-since], time[data-until]")) {
      const passed = Math.floor((Date.now() - Date.parse(element.dateTime)) / 1000);
      const seconds = Math.max(0, passed);
      const words = element.dataset.until !== undefined
        ? duration(Math.max(0, -passed))
        : element.dataset.since !== undefined
        ? duration(seconds)
        : seconds < 5 ? "now" : `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
      if (element.textContent !== words) element.textContent = words;
    }
  }
  setInterval(refreshTimes, 1000);

  // The connection, as a word in the header.
  const word = document.getElementById("live");
  let stale;
  function say(state, text) {
    if (!word) return;
    word.hidden = false;
    word.dataset.live = state;
    word.textContent = text;
  }
  function lost() {
    say("lost", "reconnecting…");
    stale ??= setTimeout(() => { document.body.dataset.stale = ""; }, STALE_AFTER);
  }
  function found() {
    clearTimeout(stale);
    stale = undefined;
    delete document.body.dataset.stale;
    say("live", "live");
  }
  document.addEventListener("htmx:ws:before:connection", (event) => {
    const seq = document.querySelector("[data-seq]")?.dataset.seq;
    const connection = event.detail.connection;
    if (seq) connection.url = connection.url.replace(/after=\d+/, `after=${seq}`);
  });
  document.addEventListener("htmx:ws:after:connection", found);
  document.addEventListener("htmx:ws:close", (event) => {
    const { code, reason } = event.detail;
    if (reason === "removed" || code === 1000) return;
    if (code === 4401) say("lost", "signed out");
    else if (code === 4403 || code === 4404) say("lost", "no longer visible");
    else lost();
  });

  // One sentence for screen readers: at once when something ended, else at most every ten seconds.
  const status = document.getElementById("status");
  let announced = 0;
  let waiting;
  function announce() {
    const source = document.querySelector("[data-announce]");
    if (!status || !source || status.textContent === source.dataset.announce) return;
    const urgent = source.dataset.urgent !== status.dataset.urgent;
    clearTimeout(waiting);
    const wait = urgent ? 0 : Math.max(0, announced + ANNOUNCE_EVERY - Date.now());
    waiting = setTimeout(() => {
      announced = Date.now();
      status.dataset.urgent = source.dataset.urgent;
      status.textContent = document.querySelector("[data-announce]")?.dataset.announce ?? "";
    }, wait);
  }
  document.addEventListener("htmx:ws:after:message:incoming", () => {
    refreshTimes();
    announce();
  });

  // Copy buttons.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
})();
