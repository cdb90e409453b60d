// The verdict table: sort by its heads, filter by text and verdict, open a row to all that stands behind it.

const table = document.getElementById("verdict-table");
const body = table.tBodies[0];
const claims = [...body.querySelectorAll("tr.claim")].map((row) => {
  const detail = document.getElementById(`detail-${row.id}`);
  return { row, detail, text: `${row.textContent} ${detail.textContent}`.toLowerCase().replaceAll("_", " ") };
});
const sought = document.getElementById("verdict-filter");
const chips = [...document.querySelectorAll(".chip")];

function filterClaims() {
  const words = sought.value.toLowerCase().replaceAll("_", " ").split(/\s+/).filter(Boolean);
  const verdict = chips.find((chip) => chip.getAttribute("aria-pressed") === "true").dataset.verdict;
  let shown = 0;
  for (const claim of claims) {
    const fits = (!verdict || claim.row.dataset.verdict === verdict) && words.every((word) => claim.text.includes(word));
    claim.row.hidden = !fits;
    claim.detail.hidden = !fits || !claim.row.classList.contains("open");
    shown += fits;
  }
  document.getElementById("verdict-count").textContent = `${shown} of ${claims.length} claims`;
  document.getElementById("verdict-none").hidden = shown > 0;
}

function choose(chip) {
  for (const other of chips) other.setAttribute("aria-pressed", other === chip);
  filterClaims();
}

for (const chip of chips) {
  chip.addEventListener("click", () => choose(chip.getAttribute("aria-pressed") === "true" ? chips[0] : chip));
}
sought.addEventListener("input", filterClaims);
document.getElementById("verdict-clear").addEventListener("click", () => {
  sought.value = "";
  choose(chips[0]);
  sought.focus();
});

// Rows without a number come last, whichever way the others run.
function sortBy(key, falling) {
  const value = (claim) => (claim.row.dataset[key] === "" ? NaN : Number(claim.row.dataset[key]));
  claims.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b) || one.row.dataset.order - other.row.dataset.order;
    return (falling ? b - a : a - b) || one.row.dataset.order - other.row.dataset.order;
  });
  for (const claim of claims) body.append(claim.row, claim.detail);
}

for (const button of table.tHead.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    sortBy(button.dataset.sort, falling);
  });
}

function openRow(row, wanted) {
  row.classList.toggle("open", wanted);
  row.querySelector(".opens").setAttribute("aria-expanded", wanted);
  document.getElementById(`detail-${row.id}`).hidden = !wanted;
}

body.addEventListener("click", (event) => {
  const row = event.target.closest("tr.claim");
  if (row) openRow(row, !row.classList.contains("open"));
});

function openNamed() {
  const row = claims.find((claim) => `#${claim.row.id}` === location.hash)?.row;
  if (row) openRow(row, true);
}
addEventListener("hashchange", openNamed);
openNamed();

// All rows of a claim, listed when they are asked for.
let strata;
const number = (value, digits = 3) => (value === null ? "–" : typeof value === "string" ? value : value.toFixed(digits).replace("-", "−"));
const chance = (value) => (value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3));

function strataTable(rows) {
  const heads = ["Outcome", "Stratum", "Estimate", "Interval", "n", "p", "Verdict", "Reason"];
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  const lines = rows.stratum.map((stratum, place) => {
    const cell = (text, className = "") => element("td", { className }, text);
    const at = (name) => rows[name][place];
    const outcome = at("outcome").length === 1 ? at("outcome").toUpperCase() : at("outcome").replaceAll("_", " ");
    const arms = at("n_reference") ? ` (${at("n_start")} / ${at("n_reference")})` : "";
    const interval = at("low") === null ? "–" : `[${number(at("low"))}, ${number(at("high"))}]`;
    const badge = element("span", { className: `badge ${at("verdict")}` }, at("verdict").replaceAll("_", " "));
    return element(
      "tr", {}, cell(outcome), element("th", { scope: "row" }, stratum), cell(number(at("estimate")), "n"), cell(interval, "n"),
      cell(`${at("n")}${arms}`, "n"), cell(chance(at("p")), "n"), element("td", {}, badge), cell(at("reason"), "reason"),
    );
  });
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
}

for (const list of document.querySelectorAll("details.strata")) {
  list.addEventListener("toggle", async () => {
    if (!list.open || list.querySelector("table")) return;
    strata ??= asset("strata").then(JSON.parse);
    const made = strataTable((await strata)[list.dataset.claim]);
    const find = element("input", { type: "search", placeholder: "filter rows …", "aria-label": "Filter exploratory rows" });
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of made.tBodies[0].rows) {
        row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      }
    });
    list.append(find, element("div", { className: "wide" }, made));
    reachable();
  });
}
