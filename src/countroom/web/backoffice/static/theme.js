// Runs before the first paint: a chosen theme beats the system's, and is remembered.
(() => {
  "use strict";
  const key = "countroom-theme";
  const root = document.documentElement;

  const kept = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // a browser that keeps nothing still has the system's theme
    }
  };
  const shown = () => root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const choose = (theme) => {
    root.dataset.theme = theme;
    try {
      localStorage.setItem(key, theme);
    } catch {
      // as above
    }
    document.dispatchEvent(new Event("themechange"));
  };

  if (kept() === "light" || kept() === "dark") root.dataset.theme = kept();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new Event("themechange"));
  });
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    button.addEventListener("click", () => choose(shown() === "dark" ? "light" : "dark"));
    button.disabled = false; // it comes disabled: a click before this line would be lost
  });
})();
