// Light or dark: as the system says, until the button says otherwise.

import { byId } from "./dom.js";

const KEY = "millstream.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners: (() => void)[] = [];

function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? system.matches : chosen === "dark";
}

function changed(): void {
  const button = byId("theme", HTMLButtonElement);
  button.textContent = isDark() ? "Light" : "Dark";
  button.title = `Use the ${isDark() ? "light" : "dark"} colours`;
  listeners.forEach((listener) => listener());
}

export function startTheme(): void {
  const saved = localStorage.getItem(KEY);
  if (saved === "light" || saved === "dark") {
    document.documentElement.dataset.theme = saved;
  }
  byId("theme", HTMLButtonElement).addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEY, next);
    changed();
  });
  system.addEventListener("change", changed);
  changed();
}

export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

/** A colour of the style sheet, for what is drawn on a canvas. */
export function colour(name: string): string {
  const probe = document.createElement("span");
  probe.className = `colour-${name}`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
