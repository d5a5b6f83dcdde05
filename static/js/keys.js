// Keyboard shortcuts, the theme and the small menus. Every one of them has a link or a button twin.
(() => {
  "use strict";
  const root = document.documentElement;
  const help = document.getElementById("help");
  const toggle = document.getElementById("keys-on");
  const CHORD_MS = 1200;
  let chord = 0;

  const enabled = () => localStorage.getItem("keys") !== "off";
  if (toggle) {
    toggle.checked = enabled();
    toggle.addEventListener("change", () => localStorage.setItem("keys", toggle.checked ? "on" : "off"));
  }

  const go = (selector) => {
    const element = document.querySelector(selector);
    if (!element) return;
    if (element.matches("input, select, textarea, [tabindex]")) element.focus();
    else element.click();
  };
  const items = () => [...document.querySelectorAll("a[data-item]")].filter((item) => item.checkVisibility());
  const move = (by) => {
    const all = items();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next].focus();
  };
  const panel = (number) => {
    const target = document.querySelectorAll("[data-panel]")[number - 1];
    target?.focus();
    target?.scrollIntoView({ block: "start" });
  };

  const KEYS = {
    "?": () => help?.showModal(),
    "/": () => go("[data-key='/']"),
    c: () => go("[data-key='c']"),
    p: () => go("[data-key='p']"),
    m: () => go("[data-key='m']"),
    j: () => move(1),
    k: () => move(-1),
    "[": () => go("[rel='prev']"),
    "]": () => go("[rel='next']"),
    u: () => go("[data-key='u']"),
  };
  const GO = { s: "[data-key='g s']", r: "[data-key='g r']", m: "[data-key='g m']" };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      document.querySelectorAll("details.menu[open]").forEach((menu) => {
        menu.open = false;
        menu.querySelector("summary").focus();
      });
      return;
    }
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && typing?.form) {
      typing.form.requestSubmit(document.getElementById(typing.dataset.send));
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !enabled() || help?.open) return;
    if (Date.now() - chord < CHORD_MS && GO[event.key]) {
      chord = 0;
      go(GO[event.key]);
    } else if (event.key === "g") {
      chord = Date.now();
    } else if (/^[1-9]$/.test(event.key)) {
      panel(Number(event.key));
    } else if (KEYS[event.key]) {
      event.preventDefault();
      KEYS[event.key]();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help?.showModal();
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
  });

  // The theme is a cookie, so that the server's first byte already has it; without script the form posts.
  document.getElementById("theme")?.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    const theme = button.value;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const other of event.target.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  });
})();
