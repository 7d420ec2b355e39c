// The page: filters, a list of which only what is in sight is in the document, ticks and pins.

const $ = (id) => document.getElementById(id);
const grid = $("grid");
const space = $("space");
const GAP = 8;
const EDGE = 14;
const KEY = `ssl_weighting gallery ${page.key}`;

const state = {
  sort: "influence", direction: SORTS.influence[2], order: [], rows: [], active: -1,
  ticked: new Set(), pinned: new Set(), anchor: null, ranges: {},
};

// ---- ticks and pins outlive a reload where the browser keeps them

function remember() {
  try {
    localStorage.setItem(KEY, JSON.stringify([[...state.ticked], [...state.pinned]]));
  } catch { /* a browser that keeps nothing for files loses nothing but this */ }
}

function recall() {
  try {
    const [ticked, pinned] = JSON.parse(localStorage.getItem(KEY) ?? "[[],[]]");
    const known = (row) => Number.isInteger(row) && row >= 0 && row < count;
    state.ticked = new Set(ticked.filter(known));
    state.pinned = new Set(pinned.filter(known));
  } catch { /* as above */ }
}

// ---- the list

const cards = new Map(); // place in the list -> card
const spare = [];
let layout = { columns: 1, width: SIZE[0], height: SIZE[1] };

function measure() {
  const room = grid.clientWidth - 2 * EDGE;
  const columns = Math.max(1, Math.floor((room + GAP) / (SIZE[0] + GAP)));
  const width = Math.floor((room - GAP * (columns - 1)) / columns);
  layout = { columns, width, height: SIZE[1] };
  const lines = Math.ceil(state.rows.length / columns);
  space.style.height = `${2 * EDGE + lines * (SIZE[1] + GAP)}px`;
  // A card keeps its example: under a pointer that is about to press it, none may change hands.
  for (const [place, card] of cards) position(card.element, place);
}

function release(place) {
  const card = cards.get(place);
  cards.delete(place);
  card.element.hidden = true;
  card.element.removeAttribute("id");
  spare.push(card);
}

function draw() {
  const { columns, height } = layout;
  const line = height + GAP;
  const first = Math.max(0, Math.floor((grid.scrollTop - EDGE) / line) - 2) * columns;
  const lines = Math.ceil(grid.clientHeight / line) + 5;
  const end = Math.min(state.rows.length, first + lines * columns);
  for (const place of [...cards.keys()]) if (place < first || place >= end) release(place);
  for (let place = first; place < end; place += 1) if (!cards.has(place)) put(place);
}

function position(element, place) {
  const { columns, width, height } = layout;
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
  const x = EDGE + (place % columns) * (width + GAP);
  const y = EDGE + Math.floor(place / columns) * (height + GAP);
  element.style.transform = `translate(${x}px, ${y}px)`;
}

function put(place) {
  const card = spare.pop() ?? new Card();
  const element = card.element;
  card.show(state.rows[place]);
  element.hidden = false;
  element.id = `example-${place}`;
  position(element, place);
  element.setAttribute("aria-posinset", place + 1);
  element.setAttribute("aria-setsize", state.rows.length);
  cards.set(place, card);
  mark(card, place);
  if (element.parentNode !== space) space.append(element);
}

function mark(card, place) {
  const ticked = state.ticked.has(card.row);
  card.element.classList.toggle("ticked", ticked);
  card.element.classList.toggle("active", place === state.active);
  card.element.setAttribute("aria-selected", ticked);
}

function markAll() {
  for (const [place, card] of cards) mark(card, place);
  for (const card of pinnedCards) mark(card, state.rows[state.active] === card.row ? state.active : -2);
  const total = state.rows.length.toLocaleString("en");
  const ticked = state.ticked.size;
  $("count").textContent =
    `${total} of ${count.toLocaleString("en")} shown` + (ticked ? `, ${ticked.toLocaleString("en")} ticked` : "");
  $("untick").disabled = !ticked;
  $("tick-shown").disabled = !state.rows.length;
  const listed = listedRows().length;
  $("copy").disabled = $("download").disabled = !listed;
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

// ---- filters

function filterNow() {
  const chosen = (id) => ($(id).value === "" ? null : Number($(id).value));
  return {
    query: $("search").value,
    sources: new Set([...$("sources").querySelectorAll("input:checked")].map((box) => Number(box.value))),
    pseudo: chosen("pseudo"),
    truth: chosen("truth"),
    wrong: $("wrong").checked,
    suspects: $("suspects").checked,
    ticked: $("only-ticked").checked ? state.ticked : null,
    ranges: state.ranges,
  };
}

function refilter() {
  const held = state.rows[state.active];
  state.rows = passing(state.order, filterNow());
  state.active = held === undefined ? -1 : state.rows.indexOf(held);
  $("nothing").hidden = state.rows.length > 0;
  for (const range of ranges) range.show(state.rows);
  for (const place of [...cards.keys()]) release(place); // places have other examples now
  measure();
  draw();
  markAll();
  point();
}

function resort() {
  state.order = sorted(state.sort, state.direction);
  const ends = { name: ["A to Z", "Z to A"], order: ["first to last", "last to first"] };
  const [up, down] = ends[state.sort] ?? ["least first", "greatest first"];
  $("direction").textContent = state.direction > 0 ? "↑" : "↓";
  $("direction").ariaLabel = $("direction").title = state.direction > 0 ? up : down;
  grid.scrollTop = 0;
  refilter();
}

let asked = false;
function refilterSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    grid.scrollTop = 0;
    refilter();
  });
}

const ranges = [];
function addRange(title, name) {
  if (!column[name].some(Number.isFinite)) return;
  ranges.push(
    new Range($("ranges"), title, column[name], (range) => {
      if (range === null) delete state.ranges[name];
      else state.ranges[name] = range;
      refilterSoon();
    }),
  );
}

function fill() {
  for (const [key, [title, values]] of Object.entries(SORTS)) {
    if (values && !values.some(Number.isFinite)) continue;
    $("sort").append(new Option(title, key));
  }
  if (!column.influence.some(Number.isFinite)) [state.sort, state.direction] = ["lam", 1];
  $("sort").value = state.sort;
  for (const id of ["pseudo", "truth"]) {
    $(id).append(new Option("any", ""));
    const values = column[id];
    page.classes.forEach((name, k) => $(id).append(new Option(shown(name), k)));
    if (values.some((label) => label < 0)) $(id).append(new Option("unknown", -1));
  }
  $("truth").disabled = !HAS_TRUTH;
  $("wrong").disabled = !HAS_TRUTH;
  page.sources.forEach((name, k) => {
    const number = column.source.reduce((n, source) => n + (source === k), 0);
    if (!number) return;
    const box = made("input", { type: "checkbox", value: k, defaultChecked: true });
    $("sources").append(made("label", {}, box, `${name} `, made("span", { className: "soft", textContent: number.toLocaleString("en") })));
  });
  $("suspects-field").hidden = !column.suspect.some(Boolean);
  addRange("λ", "lam");
  addRange("influence", "influence");
  addRange("visits", "visits");
}

// ---- one example: go there, tick it, pin it, show it

function point() {
  const there = state.active >= 0 && cards.has(state.active);
  if (there) grid.setAttribute("aria-activedescendant", `example-${state.active}`);
  else grid.removeAttribute("aria-activedescendant");
}

function go(place) {
  if (!state.rows.length) return;
  state.active = Math.min(state.rows.length - 1, Math.max(0, place));
  const line = layout.height + GAP;
  const top = EDGE + Math.floor(state.active / layout.columns) * line;
  if (top - EDGE < grid.scrollTop) grid.scrollTop = top - EDGE;
  else if (top + line > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + line - grid.clientHeight;
  draw();
  markAll();
  point();
  detail(state.rows[state.active]);
}

function tick(row, range = false) {
  const on = !state.ticked.has(row);
  const [from, to] = [state.rows.indexOf(state.anchor), state.rows.indexOf(row)];
  const rows = range && from >= 0 && to >= 0
    ? state.rows.slice(Math.min(from, to), Math.max(from, to) + 1)
    : [row];
  for (const one of rows) {
    if (range || on) state.ticked.add(one);
    else state.ticked.delete(one);
  }
  state.anchor = row;
  ticksChanged();
}

function ticksChanged() {
  remember();
  if ($("only-ticked").checked) refilter();
  markAll();
  if (shownRow !== null) detail(shownRow);
}

let pinnedCards = [];
function pin(row) {
  if (!state.pinned.delete(row)) state.pinned.add(row);
  remember();
  drawPins();
  if (shownRow !== null) detail(shownRow);
}

function drawPins() {
  pinnedCards = [...state.pinned].map((row) => {
    const card = new Card();
    card.show(row);
    card.element.setAttribute("role", "group");
    card.element.removeAttribute("aria-posinset");
    card.element.style.width = `${SIZE[0]}px`;
    card.element.style.height = `${SIZE[1]}px`;
    return card;
  });
  $("pinned").replaceChildren(...pinnedCards.map((card) => card.element));
  $("pinned").hidden = !pinnedCards.length;
  measure();
  draw();
  markAll();
}

let shownRow = null;
function detail(row, open = false) {
  shownRow = row;
  const panel = $("detail");
  if (row === null) {
    panel.classList.remove("open");
    panel.replaceChildren(made("p", { className: "soft", textContent: "Choose an example to see all of it." }));
    return;
  }
  const button = (text, pressed, act) => {
    const element = made("button", { textContent: text });
    if (pressed !== null) element.setAttribute("aria-pressed", pressed);
    element.addEventListener("click", act);
    return element;
  };
  const close = button("Close", null, () => { panel.classList.remove("open"); grid.focus(); });
  close.className = "close";
  panel.replaceChildren(...detailOf(row, [
    button(state.ticked.has(row) ? "Untick" : "Tick", state.ticked.has(row), () => tick(row)),
    button(state.pinned.has(row) ? "Unpin" : "Pin", state.pinned.has(row), () => pin(row)),
    close,
  ]));
  if (open) panel.classList.add("open");
}

// ---- the list of names

function listedRows() {
  return $("scope").value === "ticked" ? [...state.ticked].sort((a, b) => a - b) : state.rows;
}

function say(done) {
  const rows = listedRows();
  const names = excludable(rows).length;
  const kept = rows.filter((row) => !column.excludable[row]).length;
  const left = kept ? `; ${kept} labeled, validation or test examples left out` : "";
  $("said").textContent = `${done} ${names} name${names === 1 ? "" : "s"}${left}.`;
}

async function copy() {
  const [, text] = excludeFile(listedRows());
  try {
    await navigator.clipboard.writeText(text);
  } catch { // where the clipboard is closed to files
    const area = made("textarea", { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) {
      $("said").textContent = "This browser does not let a page copy: download the list.";
      return;
    }
  }
  say("Copied");
}

function download() {
  const [name, text] = excludeFile(listedRows());
  const link = made("a", { download: name });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say("Downloaded");
}

// ---- events

function clicked(event) {
  const element = event.target.closest(".card");
  if (!element) return;
  const row = Number(element.dataset.row);
  const place = element.parentNode === space ? Number(element.id.slice(8)) : state.rows.indexOf(row);
  if (event.target.closest(".box") || event.shiftKey) tick(row, event.shiftKey);
  if (place >= 0) go(place);
  detail(row, !event.target.closest(".box"));
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const row = state.rows[state.active];
  const screen = layout.columns * Math.max(1, Math.floor(grid.clientHeight / (layout.height + GAP)));
  const moves = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: layout.columns, ArrowUp: -layout.columns,
    PageDown: screen, PageUp: -screen, Home: -count, End: count,
  };
  if (event.key in moves) {
    const by = moves[event.key];
    const beyond = state.active + by >= state.rows.length && by === layout.columns;
    if (state.active < 0) go(event.key === "End" ? count : 0);
    else if (!beyond && !(state.active + by < 0 && by === -layout.columns)) go(state.active + by);
  } else if (event.key === " " && row !== undefined) tick(row);
  else if (event.key.toLowerCase() === "p" && row !== undefined) pin(row);
  else if (event.key === "Enter" && row !== undefined) detail(row, true);
  else return;
  event.preventDefault();
}

function pressedAnywhere(event) {
  const typing = event.target.matches?.("input[type=search], input[type=number], select, textarea");
  if (event.key === "Escape" && !$("help").open) {
    $("detail").classList.remove("open");
    openFilters(false);
    grid.focus();
  }
  if (typing || $("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    openFilters(true);
    $("search").focus();
    $("search").select();
    event.preventDefault();
  } else if (event.key === "?") {
    $("help").showModal();
    event.preventDefault();
  }
}

function openFilters(open) {
  $("filters").classList.toggle("open", open);
  $("open-filters").setAttribute("aria-expanded", open);
}

const dark = () =>
  (document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
function showTheme() {
  $("theme").textContent = dark() ? "Light" : "Dark";
  $("theme").setAttribute("aria-pressed", dark());
}

function reset() {
  $("filters").reset();
  $("sort").value = state.sort;
  for (const range of ranges) range.set(-Infinity, Infinity);
  refilterSoon();
}

function listen() {
  grid.addEventListener("scroll", soon, { passive: true });
  grid.addEventListener("click", clicked);
  grid.addEventListener("keydown", pressed);
  grid.addEventListener("focus", () => {
    if (state.active < 0 && state.rows.length) {
      state.active = Math.max(0, Math.ceil((grid.scrollTop - EDGE) / (layout.height + GAP))) * layout.columns;
      state.active = Math.min(state.active, state.rows.length - 1);
      draw();
      markAll();
      point();
    }
  });
  $("pinned").addEventListener("click", clicked);
  document.addEventListener("keydown", pressedAnywhere);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("search").addEventListener("input", refilterSoon);
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    refilter(); // what was typed last may not have been carried out yet
    grid.focus();
  });
  for (const id of ["sources", "pseudo", "truth", "wrong", "suspects", "only-ticked"]) $(id).addEventListener("change", refilterSoon);
  $("sort").addEventListener("change", () => {
    state.sort = $("sort").value;
    state.direction = SORTS[state.sort][2];
    resort();
  });
  $("direction").addEventListener("click", () => { state.direction *= -1; resort(); });
  $("clear").addEventListener("click", reset);
  $("tick-shown").addEventListener("click", () => { for (const row of state.rows) state.ticked.add(row); ticksChanged(); });
  $("untick").addEventListener("click", () => { state.ticked.clear(); ticksChanged(); });
  $("scope").addEventListener("change", markAll);
  $("copy").addEventListener("click", copy);
  $("download").addEventListener("click", download);
  $("open-help").addEventListener("click", () => $("help").showModal());
  $("open-filters").addEventListener("click", () => openFilters(!$("filters").classList.contains("open")));
  $("theme").addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; showTheme(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  new ResizeObserver(() => { measure(); draw(); }).observe(grid);
}

document.body.classList.add(page.kind);
recall();
fill();
showTheme();
detail(null);
listen();
resort();
drawPins();
