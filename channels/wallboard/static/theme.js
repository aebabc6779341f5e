// @ts-check
/* Light or dark, decided before the page is painted: the choice kept on this machine, else the system's. A classic script, so that it blocks. */
"use strict";

(() => {
  const KEY = "wallboard.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /** @returns {string | null} */
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch (error) {
      console.info("This browser keeps nothing for the wallboard", error);
      return null;
    }
  };
  const show = () => {
    const choice = kept();
    document.documentElement.dataset.theme = choice === "light" || choice === "dark" ? choice : dark.matches ? "dark" : "light";
  };
  const toggle = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem(KEY, next);
    } catch (error) {
      console.info("This browser keeps nothing for the wallboard", error);
    }
  };

  show();
  dark.addEventListener("change", show);
  addEventListener("storage", (event) => event.key === KEY && show());
  document.addEventListener("DOMContentLoaded", () => document.getElementById("theme")?.addEventListener("click", toggle));
})();
