// What the page holds: columns by example, and which examples pass the filters, in which order.

const page = JSON.parse(document.getElementById("data").textContent);
const count = page.names.length;

const NUMBERS = { f: Float32Array, i: Int32Array, h: Uint16Array, b: Uint8Array };

// Arrays stand in the page as little-endian bytes in base64, behind the letter of their type.
function decoded(text) {
  const bytes = Uint8Array.from(atob(text.slice(1)), (letter) => letter.charCodeAt(0));
  return new NUMBERS[text[0]](bytes.buffer);
}

const column = Object.fromEntries(
  Object.entries(page.columns).map(([name, text]) => [name, decoded(text)]),
);
const TEXTS = page.texts !== null;
const HAS_TRUTH = column.truth.some((label) => label >= 0);

// λ of example `row` at every moment, or null where it was not kept.
const history = (() => {
  if (page.history === null) return () => null;
  const { steps, low, high } = page.history;
  const levels = decoded(page.history.lam); // [examples kept][moments], 0 to 65535
  const place = new Map(Array.from(decoded(page.history.rows), (row, k) => [row, k]));
  return (row) => {
    if (!place.has(row)) return null;
    const first = place.get(row) * steps.length;
    return steps.map((_, k) => low + ((high - low) * levels[first + k]) / 65535);
  };
})();

// Characters that cannot be seen, or turn the reading direction, are written as their numbers.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
function shown(text) {
  return text.replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function className(label) {
  return label < 0 ? "unknown" : (page.classes[label] ?? String(label));
}

// Very small and very large ones are written in powers of ten, with `places` behind the point.
function number(value, digits = 2, places = 1) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size && (size < 10 ** -digits || size >= 1e5)) return value.toExponential(places).replaceAll("-", "−");
  return value.toFixed(digits).replace("-", "−");
}

function influenceText(row) {
  const mean = column.influence[row];
  const error = column.error[row];
  if (!Number.isFinite(mean)) return "–";
  const sign = mean > 0 ? "+" : "";
  return sign + number(mean, 3) + (Number.isFinite(error) ? ` ± ${number(error, 3, 0)}` : "");
}

// Right, wrong or open: the tone in which a pseudo-label is shown.
function tone(row) {
  if (column.truth[row] < 0) return "open";
  return column.truth[row] === column.pseudo[row] ? "good" : "bad";
}

// What two standard errors leave of the harm.
column.sure = column.influence.map((mean, row) => mean - 2 * column.error[row]);

const SORTS = {
  influence: ["influence", column.influence, -1],
  sure: ["influence − 2 errors", column.sure, -1],
  lam: ["λ", column.lam, 1],
  visits: ["visits", column.visits, -1],
  confidence: ["confidence", column.confidence, -1],
  loss: ["loss", column.loss, -1],
  name: ["name", null, 1],
  order: ["order in the data", null, 1],
};

// Return all rows in an order; what has no value comes last, equal values keep the data's order.
function sorted(key, direction) {
  const rows = Array.from({ length: count }, (_, row) => row);
  if (key === "order") return direction > 0 ? rows : rows.reverse();
  if (key === "name") {
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    return rows.sort((a, b) => direction * compare(page.names[a], page.names[b]));
  }
  const values = SORTS[key][1];
  const known = rows.filter((row) => !Number.isNaN(values[row]));
  const unknown = rows.filter((row) => Number.isNaN(values[row]));
  return [...known.sort((a, b) => direction * (values[a] - values[b]) || a - b), ...unknown];
}

let haystack = null;
function searchable() {
  haystack ??= page.names.map((name, row) =>
    (TEXTS ? `${name}\n${page.texts[row]}` : name).toLowerCase(),
  );
  return haystack;
}

// Return the rows of `order` that pass `filter`.
function passing(order, filter) {
  const query = filter.query.toLowerCase();
  const texts = query ? searchable() : null;
  const ranges = Object.entries(filter.ranges).map(([name, range]) => [column[name], ...range]);
  return order.filter((row) => {
    if (!filter.sources.has(column.source[row])) return false;
    if (filter.pseudo !== null && column.pseudo[row] !== filter.pseudo) return false;
    if (filter.truth !== null && column.truth[row] !== filter.truth) return false;
    if (filter.wrong && tone(row) !== "bad") return false;
    if (filter.suspects && !column.suspect[row]) return false;
    if (filter.ticked && !filter.ticked.has(row)) return false;
    // Where a range is set, an example without the value does not pass.
    for (const [values, low, high] of ranges) {
      if (!(values[row] >= low && values[row] <= high)) return false;
    }
    return texts === null || texts[row].includes(query);
  });
}

// What --exclude takes: names of unlabeled examples, each once.
function excludable(rows) {
  const names = rows.filter((row) => column.excludable[row]).map((row) => page.names[row]);
  return [...new Set(names)];
}

// A cell as the programs write and read it: an apostrophe keeps spreadsheets from running it.
function cell(text) {
  const runs = /^[=+\-@\t\r]/.test(text) && !/^[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?$/.test(text);
  return `"${(runs ? `'${text}` : text).replaceAll('"', '""')}"\n`;
}

// Return [name, content] of a file for --exclude: a name a line, a table where one has several.
function excludeFile(rows) {
  const names = excludable(rows);
  if (names.some((name) => /[\n\r]/.test(name))) {
    return ["exclude.csv", `name\n${names.map(cell).join("")}`];
  }
  return ["exclude.txt", names.map((name) => `${name}\n`).join("")];
}
