// The page is whole without this. It sorts tables, filters branches, tells values under the pointer, and opens all for printing.
"use strict";

const UNITS = {
  ms: 1e-3, s: 1, min: 60, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40,
  FLOP: 1, kFLOP: 1e3, MFLOP: 1e6, GFLOP: 1e9, TFLOP: 1e12, PFLOP: 1e15,
};
const NUMBER = /^[<>]?\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:\s?(ms|s|min|[KMGT]iB|[kMGTP]?FLOP)\b)?(?=$|[\s(%,/])/;

// A cell's number: its data-value, else what its text begins with in the ways of stages/reporting/wording.py; NaN for none.
function numberIn(cell) {
  const text = textOf(cell).replace(/\u202f/g, "").replace(/\u2212/g, "-")
    .replace(/^(\d+) h (\d+) min/, (_, hours, minutes) => `${60 * hours + Number(minutes)} min`)
    .replace(/^(\d+) min (\d+) s/, (_, minutes, seconds) => `${60 * minutes + Number(seconds)} s`);
  const [, digits, unit] = text.match(NUMBER) ?? [];
  if (digits === undefined) return { inf: Infinity, "-inf": -Infinity }[text] ?? NaN;
  return Number(digits) * (UNITS[unit] ?? 1);
}

function textOf(cell) {
  return cell.dataset.value ?? cell.textContent.trim().replace(/[ \n]+/g, " ");
}

function isMissing(cell) {
  return ["", "–", "nan"].includes(textOf(cell));
}

// The rows by one column: as numbers where all its cells are numbers, else as text; what is missing comes last either way.
function sorted(rows, column, descending) {
  const known = rows.filter((row) => !isMissing(row.cells[column]));
  const keys = new Map(known.map((row) => [row, numberIn(row.cells[column])]));
  let compare = (a, b) => keys.get(a) - keys.get(b);
  if ([...keys.values()].some(Number.isNaN)) {
    const { compare: collate } = new Intl.Collator(document.documentElement.lang, { numeric: true });
    compare = (a, b) => collate(textOf(a.cells[column]), textOf(b.cells[column]));
  }
  known.sort(descending ? (a, b) => compare(b, a) : compare);
  return [...known, ...rows.filter((row) => isMissing(row.cells[column]))];
}

// Buttons in the headings of a table with one body of plain rows: ascending, descending, as it was.
function makeSortable(table) {
  const [body, more] = table.tBodies;
  const heads = table.tHead?.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
  const rows = [...(body?.rows ?? [])];
  if (more || rows.length < 2 || rows.some((row) => row.cells.length !== heads.length)) return;
  heads.forEach((head, column) => {
    if (head.tagName !== "TH") return; // an empty corner
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== null) head.setAttribute("aria-sort", order ?? "ascending");
      body.append(...(order === null ? rows : sorted(rows, column, order === "descending")));
    });
  });
}

// Everything that shows only some branches, with their numbers: what has data-branches; and by the branch's chip in a heading,
// a table's row (of several branches where it has several chips), a table's column, a card; itself in a list.
function* partsOfBranches() {
  for (const part of document.querySelectorAll("main [data-branches]")) yield [part, part.dataset.branches.split(" ")];
  for (const chip of document.querySelectorAll("main [data-branch]")) {
    const numbers = chip.dataset.branch.split(" "), head = chip.closest("th"), card = chip.closest(".card > h3")?.parentElement;
    if (head?.scope === "row") yield [head.parentElement, numbers];
    else if (head) yield* columnOf(head).map((cell) => [cell, numbers]);
    else if (card) yield [card, numbers];
    else if (chip.closest(".where")) yield [chip, numbers];
  }
}

function columnOf(head) {
  const whole = [...head.closest("table").rows].filter((row) => row.cells.length === head.parentElement.cells.length);
  return whole.map((row) => row.cells[head.cellIndex]);
}

// Of each axis the branches with a checked value; an axis without a check is no condition.
function makeFilter(search) {
  const panel = search.querySelector("details"), status = search.querySelector("[role=status]"), reset = search.querySelector("button");
  const axes = [...search.querySelectorAll("fieldset")].map((axis) => [...axis.querySelectorAll("input")]);
  const total = Number(search.dataset.total), parts = new Map();
  for (const [part, numbers] of partsOfBranches()) parts.set(part, [...(parts.get(part) ?? []), numbers]);

  function apply() {
    const conditions = axes.map((boxes) => boxes.filter((box) => box.checked)).filter((checked) => checked.length)
      .map((checked) => new Set(checked.flatMap((box) => box.dataset.branches.split(" "))));
    const isShown = (number) => conditions.every((numbers) => numbers.has(number));
    for (const [part, all] of parts) part.toggleAttribute("hidden", !all.every((numbers) => numbers.some(isShown)));
    const shown = Array.from({ length: total }, (_, place) => String(place + 1)).filter(isShown).length;
    status.textContent = conditions.length ? `${shown} of ${total} branches shown` : "";
    reset.hidden = !conditions.length;
  }

  function clear() {
    for (const box of axes.flat()) box.checked = false;
    apply();
  }

  search.addEventListener("change", apply);
  reset.addEventListener("click", () => { clear(); panel.querySelector("summary").focus(); });
  search.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !panel.open) return;
    panel.open = false;
    panel.querySelector("summary").focus();
  });
  document.addEventListener("click", ({ target }) => { if (!search.contains(target)) panel.open = false; });
  addEventListener("hashchange", () => {
    const target = document.querySelector(":target");
    if (!target?.closest("[hidden]")) return;
    clear();
    target.scrollIntoView();
  });
  search.hidden = false;
  clear();
}

// What a figure's place tells (its title), at once: beside the pointer, or below the curves where the place is as high as they are.
// Escape or leaving the figure ends it.
function tellReadings() {
  const tip = document.createElement("div");
  tip.className = "tip";
  document.addEventListener("pointerover", ({ target, clientX, clientY }) => {
    const place = target.closest(".readings > rect"), drawing = target.closest(".drawing");
    if (tip.parentElement !== drawing) tip.remove();
    if (!place) return;
    const title = place.querySelector("title");
    if (title) {
      place.dataset.told = title.textContent;
      title.remove();
    }
    tip.textContent = place.dataset.told;
    drawing.append(tip);
    const frame = drawing.getBoundingClientRect();
    const beside = clientX - frame.left + 14, before = clientX - frame.left - 14 - tip.offsetWidth;
    const left = beside + tip.offsetWidth <= frame.width || before < 0 ? Math.min(beside, frame.width - tip.offsetWidth) : before;
    tip.style.left = `${Math.max(left, 0)}px`;
    const above = clientY - frame.top - tip.offsetHeight - 8, lowest = frame.height - tip.offsetHeight;
    tip.style.top = `${place.getBoundingClientRect().height > frame.height / 2 ? lowest : Math.max(above, 0)}px`;
  });
  document.addEventListener("keydown", ({ key }) => { if (key === "Escape") tip.remove(); });
}

// Only what scrolls is a stop of the Tab key.
function watchScrollers() {
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const scroller of document.querySelectorAll(".scroll")) watch.observe(scroller);
}

// Paper has nothing to click on.
function openForPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
}

for (const table of document.querySelectorAll("main table")) makeSortable(table);
for (const search of document.querySelectorAll("search")) makeFilter(search);
tellReadings();
watchScrollers();
openForPrint();
