// Small things of every page: times in the reader's zone, light and dark, copying, and the end of what was followed.
"use strict";
(() => {
  const kept = "tuner-theme";
  const remembered = () => { try { return localStorage.getItem(kept); } catch { return null; } };
  const theme = remembered();
  if (theme) document.documentElement.dataset.theme = theme;

  const localise = () => document.querySelectorAll("time[datetime]").forEach((one) => {
    const when = new Date(one.dateTime);
    if (Number.isNaN(when.getTime())) return;
    one.title = one.dateTime;
    one.textContent = when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  });

  const switchTheme = () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem(kept, root.dataset.theme); } catch { /* then not for the next page */ }
    document.dispatchEvent(new Event("tuner:theme"));
  };

  const copy = async (button) => {
    const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy by hand";
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches("[data-theme-switch]")) switchTheme();
    if (button?.dataset.copy) copy(button);
  });

  document.addEventListener("DOMContentLoaded", () => {
    localise();
    document.addEventListener("htmx:after:swap", localise);
    // A study that was followed has ended: its page has more to say then.
    document.getElementById("live")?.addEventListener("over", () => location.reload());
  });
})();
