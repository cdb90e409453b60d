"use strict";
// What every part uses: packed content, saving files, the theme, and tables that scroll by keyboard.

function asset(name) {
  const packed = document.querySelector(`script[data-asset="${name}"]`).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A picture of an SVG, two pixels to each of its own.
async function pixels(svg) {
  const picture = new Image();
  const source = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  picture.src = source;
  await picture.decode();
  const canvas = element("canvas", { width: 2 * picture.width, height: 2 * picture.height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(source);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

document.addEventListener("click", async (event) => {
  const csv = event.target.closest("[data-csv]");
  if (csv) save(new Blob([await asset(`csv-${csv.dataset.csv}`)], { type: "text/csv" }), `${csv.dataset.csv}.csv`);
});

const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

function remembered(value) {
  try {
    if (value) localStorage.setItem("turncoat-theme", value);
    return localStorage.getItem("turncoat-theme");
  } catch {
    return null; // a browser that keeps nothing for files
  }
}

function isDark() {
  return (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
}

function showTheme() {
  theme.setAttribute("aria-pressed", isDark());
  theme.setAttribute("aria-label", "Dark theme");
  theme.title = isDark() ? "Switch to light" : "Switch to dark";
  document.dispatchEvent(new Event("themed"));
}

if (remembered()) document.documentElement.dataset.theme = remembered();
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = remembered(isDark() ? "light" : "dark") || (isDark() ? "light" : "dark");
  showTheme();
});
system.addEventListener("change", showTheme);
showTheme();

// A table wider than the page can be reached, and so scrolled, by keyboard.
function reachable() {
  for (const box of document.querySelectorAll(".wide, pre")) {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Wide content, scrolls sideways");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
}
addEventListener("resize", reachable);
document.addEventListener("toggle", reachable, true);
(window.requestIdleCallback || setTimeout)(reachable);
