// Cards of examples and their pictures; what stands on a card is text, never markup.

const pictures = (() => {
  if (page.pictures === null) return null;
  const { cell, columns, perSheet, files, sharp } = page.pictures;
  const sizes = decoded(page.pictures.sizes); // width and height of each
  const addresses = new Array(files.length).fill(null);

  // Sheets inside the page become addresses when they are first seen.
  function address(sheet) {
    if (addresses[sheet] === null) {
      const inside = document.getElementById(`sheet-${sheet}`);
      if (inside === null) addresses[sheet] = files[sheet];
      else {
        const bytes = Uint8Array.from(atob(inside.textContent), (c) => c.charCodeAt(0));
        addresses[sheet] = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
        inside.remove();
      }
    }
    return addresses[sheet];
  }

  // Show the picture of `row` in `element`, at most `side` pixels wide and high.
  function show(element, row, side) {
    const [width, height] = [sizes[2 * row], sizes[2 * row + 1]];
    const scale = side / Math.max(width, height);
    const place = row % perSheet;
    const left = (place % columns) * cell;
    const top = Math.floor(place / columns) * cell;
    const style = element.style;
    element.classList.toggle("sharp", sharp);
    style.width = `${width * scale}px`;
    style.height = `${height * scale}px`;
    style.backgroundImage = `url("${address(Math.floor(row / perSheet))}")`;
    style.backgroundSize = `${columns * cell * scale}px auto`;
    style.backgroundPosition = `${-left * scale}px ${-top * scale}px`;
  }
  return { show };
})();

const SIDE = { images: 104, features: 134, texts: 0 }[page.kind];
const SIZE = { images: [162, 218], features: [182, 156], texts: [300, 152] }[page.kind];

// Of a long path the end tells more than the beginning.
function shortened(name) {
  const room = LETTERS[page.kind];
  return name.length > room ? `…${name.slice(1 - room)}` : name;
}

function visitsText(row) {
  return `${column.visits[row]} visit${column.visits[row] === 1 ? "" : "s"}`;
}

const LETTERS = { images: 16, features: 22, texts: 40 }; // of a name on a card

function toned(row) {
  const mark = { good: "✓ ", bad: "✗ ", open: "" }[tone(row)];
  return [`tone ${tone(row)}`, mark + shown(className(column.pseudo[row]))];
}

class Card {
  constructor() {
    this.element = made("div", { className: "card" });
    this.element.setAttribute("role", "option");
    this.box = made("span", { className: "box", textContent: "✓", title: "tick" });
    this.box.setAttribute("aria-hidden", "true");
    this.name = made("span", { className: "name" });
    this.numbers = made("span", { className: "numbers" });
    this.more = made("span", { className: "numbers" });
    this.label = made("span", { className: "tone" });
    if (pictures) {
      this.thumb = made("span", { className: "thumb" });
      const frame = made("span", { className: "frame" }, this.thumb);
      frame.style.height = page.kind === "features" ? "40px" : `${SIDE}px`;
      this.element.append(frame);
    }
    if (TEXTS) this.element.append(this.name, (this.text = made("span", { className: "text" })));
    else this.element.append(this.name);
    this.truth = made("span", { className: "truth" });
    this.element.append(this.numbers, this.more, this.label, this.truth, this.box);
  }

  show(row) {
    this.row = row;
    this.element.dataset.row = row;
    if (pictures) pictures.show(this.thumb, row, SIDE);
    if (TEXTS) this.text.textContent = shown(page.texts[row].slice(0, 400));
    this.name.textContent = shortened(shown(page.names[row]));
    this.name.title = shown(page.names[row]);
    const weighted = Number.isFinite(column.lam[row]);
    const first = made("b", { textContent: weighted ? `λ ${number(column.lam[row])}` : page.sources[column.source[row]] });
    this.numbers.replaceChildren(first, made("span", { textContent: weighted ? ` · ${visitsText(row)}` : "" }));
    const confidence = `confidence ${number(column.confidence[row])}`;
    const known = weighted && Number.isFinite(column.influence[row]);
    this.more.replaceChildren(made("span", { textContent: known ? `infl. ${influenceText(row)}` : confidence }));
    this.more.classList.toggle("suspect", column.suspect[row] > 0);
    this.truth.textContent = tone(row) === "bad" ? `true: ${shown(className(column.truth[row]))}` : "";
    [this.label.className, this.label.textContent] = toned(row);
    this.element.setAttribute("aria-label", spoken(row));
  }
}

function spoken(row) {
  const parts = [shown(page.names[row]), page.sources[column.source[row]]];
  if (Number.isFinite(column.lam[row])) parts.push(`lambda ${number(column.lam[row])}`);
  if (Number.isFinite(column.influence[row])) parts.push(`influence ${influenceText(row)}`);
  parts.push(`pseudo-label ${shown(className(column.pseudo[row]))}`);
  if (column.truth[row] >= 0) parts.push(`true label ${shown(className(column.truth[row]))}`);
  return parts.join(", ");
}

// The line of λ over training.
function historyPlot(row) {
  const values = history(row);
  if (values === null) return null;
  const { steps } = page.history;
  const [width, height, left, bottom] = [260, 96, 34, 18];
  const low = Math.min(page.lambda_init, ...values);
  const high = Math.max(page.lambda_init, ...values);
  const room = high - low || 1;
  const last = steps[steps.length - 1];
  const x = (step) => left + ((width - left - 8) * step) / last;
  const y = (value) => 8 + ((height - bottom - 16) * (high - value)) / room;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const told = `λ from ${number(page.lambda_init)} at the start to ${number(values[values.length - 1])} at step ${last}`;
  svg.setAttribute("aria-label", told);
  drawn("line", { class: "start", x1: left, x2: width - 8, y1: y(page.lambda_init), y2: y(page.lambda_init) }, svg);
  const points = [[0, page.lambda_init], ...steps.map((step, k) => [step, values[k]])];
  drawn("path", { class: "path", d: `M${points.map(([s, v]) => `${x(s).toFixed(1)},${y(v).toFixed(1)}`).join("L")}` }, svg);
  drawn("circle", { class: "dot", cx: x(last), cy: y(values[values.length - 1]), r: 3 }, svg);
  const word = (text, attributes) => (drawn("text", attributes, svg).textContent = text);
  word(number(high), { x: left - 4, y: 12, "text-anchor": "end" });
  if (high > low) word(number(low), { x: left - 4, y: height - bottom - 4, "text-anchor": "end" });
  word("0", { x: left, y: height - 4 });
  word(`step ${last}`, { x: width - 8, y: height - 4, "text-anchor": "end" });
  return svg;
}

function detailOf(row, acts) {
  const parts = [];
  if (pictures) {
    const thumb = made("span", { className: "thumb" });
    pictures.show(thumb, row, page.kind === "features" ? 240 : 192);
    parts.push(made("div", { className: "frame" }, thumb));
  }
  parts.push(made("h2", { textContent: shown(page.names[row]) }));
  if (TEXTS) parts.push(made("p", { className: "text", textContent: shown(page.texts[row]) }));
  const list = made("dl");
  const line = (name, value) => list.append(made("dt", { textContent: name }), made("dd", {}, value));
  line("source", page.sources[column.source[row]] + (Number.isFinite(column.lam[row]) && column.source[row] ? ", and in the unlabeled set" : ""));
  if (Number.isFinite(column.lam[row])) {
    line("λ", number(column.lam[row], 3));
    line("influence", influenceText(row) + (column.suspect[row] ? ", suspect" : ""));
    line("visits", String(column.visits[row]));
  }
  const [kind, text] = toned(row);
  line("pseudo-label", made("span", { className: kind, textContent: text }));
  line("true label", shown(className(column.truth[row])));
  line("confidence", number(column.confidence[row], 3));
  line("loss", number(column.loss[row], 3));
  parts.push(made("div", { className: "acts" }, ...acts), list);
  const plot = historyPlot(row);
  if (plot) parts.push(made("h3", { textContent: "λ over training" }), plot);
  return parts;
}
