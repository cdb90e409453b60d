// Interactive figures: drawn when they come near the view, each panel by itself, so that panels flow on a narrow screen.

const charts = asset("charts").then(JSON.parse);
const colours = JSON.parse(document.querySelector('script[data-asset="dark"]').textContent);
const GLYPHS = { o: "●", s: "■", "^": "▲", v: "▼", "<": "◀", ">": "▶", D: "◆", P: "✚", p: "⬟", x: "✕", "+": "+", "|": "|", "": "▬" };
const drawn = new Map();
let library;

function plotly() {
  library ??= asset("plotly").then((source) => {
    document.head.append(element("script", { textContent: source }));
    return window.Plotly;
  });
  return library;
}

// The same values in the colours of the theme.
function themed(value) {
  if (Array.isArray(value)) return typeof value[0] === "object" ? value.map(themed) : value;
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item)]));
  return isDark() && typeof value === "string" ? colours[value] || value : value;
}

function dressed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [text, line, ground] = ["--text", "--line", "--panel"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zeroline: false, linecolor: text, automargin: true, tickfont: { size: 11 }, showline: true };
  const full = themed(structuredClone(layout));
  return {
    ...full,
    xaxis: { ...axis, ...full.xaxis, title: { ...full.xaxis.title, font: { size: 12 }, standoff: 6 } },
    yaxis: { ...axis, ...full.yaxis, title: { ...full.yaxis.title, font: { size: 12 }, standoff: 6 } },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: ground, bordercolor: text, font: { color: text }, align: "left" },
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    margin: { l: 46, r: 8, t: 8, b: 40 },
    showlegend: false,
    uirevision: "kept",
  };
}

const OPTIONS = { displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false };

async function paint(figure) {
  const { chart, plots, hidden } = drawn.get(figure);
  const tool = await plotly();
  chart.panels.forEach((panel, place) => {
    const data = panel.data.map((trace) => ({ ...themed(trace), visible: !hidden.has(trace.legendgroup) }));
    tool.react(plots[place], data, dressed(panel.layout), OPTIONS);
  });
}

function legendOf(figure, chart) {
  const { hidden } = drawn.get(figure);
  return chart.legend.map((item) => {
    const key = element("span", { className: "key", "aria-hidden": "true" }, GLYPHS[item.symbol] || "●");
    key.dataset.color = item.color;
    const button = element("button", { type: "button", "aria-pressed": "true" }, key, item.name.replaceAll("_", " "));
    button.addEventListener("click", () => {
      const gone = !hidden.delete(item.name) && hidden.add(item.name);
      button.setAttribute("aria-pressed", !gone);
      paint(figure);
    });
    return button;
  });
}

function keysOf(figure) {
  for (const key of figure.querySelectorAll(".key")) key.style.color = themed(key.dataset.color);
}

// Scales both axes of every panel about their middle, or moves them by a share of their length.
async function view(figure, scale, right = 0, up = 0) {
  const { plots } = drawn.get(figure);
  const tool = await plotly();
  for (const plot of plots) {
    const change = {};
    for (const [name, shift] of [["xaxis", right], ["yaxis", up]]) {
      const [from, to] = plot._fullLayout[name].range;
      const [middle, half] = [(from + to) / 2 + shift * (to - from), ((to - from) / 2) * scale];
      change[`${name}.range`] = [middle - half, middle + half];
    }
    tool.relayout(plot, change);
  }
}

async function reset(figure) {
  const { chart, plots } = drawn.get(figure);
  const tool = await plotly();
  chart.panels.forEach((panel, place) => {
    const change = {};
    for (const name of ["xaxis", "yaxis"]) {
      const { range, autorange } = panel.layout[name];
      change[range ? `${name}.range` : `${name}.autorange`] = range ? [...range] : autorange || true;
    }
    tool.relayout(plots[place], change);
  });
}

const KEYS = {
  "+": [0.8], "=": [0.8], "-": [1.25],
  ArrowLeft: [1, -0.1], ArrowRight: [1, 0.1], ArrowUp: [1, 0, 0.1], ArrowDown: [1, 0, -0.1],
};

async function draw(figure) {
  if (drawn.has(figure)) return;
  const chart = (await charts)[figure.dataset.figure];
  if (drawn.has(figure)) return;
  const box = figure.querySelector(".panels");
  const plots = chart.panels.map((panel) => {
    const plot = element("div", { className: "plot", role: "img", "aria-label": panel.label || chart.label });
    const title = panel.title ? [element("h4", {}, panel.title)] : [];
    box.append(element("div", { className: "panel" }, ...title, plot));
    return plot;
  });
  drawn.set(figure, { chart, plots, hidden: new Set() });
  const tools = figure.querySelector(".tools");
  const action = (label, words, act) => {
    const button = element("button", { type: "button", "aria-label": words, title: words }, label);
    button.addEventListener("click", act);
    return button;
  };
  const zoom = [
    action("+", "Zoom in", () => view(figure, 0.8)),
    action("−", "Zoom out", () => view(figure, 1.25)),
    action("Reset", "Reset the view", () => reset(figure)),
  ];
  const legend = element("div", { className: "legend", role: "group", "aria-label": "Show or hide" }, ...legendOf(figure, chart));
  tools.append(legend, element("div", { className: "zoom", role: "group", "aria-label": "Zoom" }, ...zoom));
  tools.hidden = false;
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") reset(figure);
    else if (KEYS[event.key]) view(figure, ...KEYS[event.key]);
    else return;
    event.preventDefault();
  });
  keysOf(figure);
  await paint(figure);
  figure.dataset.drawn = "";
}

const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "500px" },
);
for (const figure of document.querySelectorAll("figure.chart")) if (figure.querySelector(".panels")) near.observe(figure);

document.addEventListener("themed", () => {
  for (const figure of drawn.keys()) {
    keysOf(figure);
    paint(figure);
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-save]");
  if (!button) return;
  const { name } = button.dataset;
  const svg = await asset(`svg-${name}`);
  const content = button.dataset.save === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await pixels(svg);
  save(content, `${name}.${button.dataset.save}`);
});
