// A histogram that is a brush, with two number fields that say and take the same.

const SVG = "http://www.w3.org/2000/svg";
const MOST_BINS = 48;

function drawn(kind, attributes, parent) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}

function made(kind, properties = {}, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

class Range {
  // `changed` is called with [low, high], or null for all.
  constructor(parent, title, values, changed) {
    this.values = values;
    this.changed = changed;
    const known = values.filter((value) => Number.isFinite(value)).sort();
    // A few extreme influences would press all others into one bar: the outer bars hold the rest.
    const at = (share) => known[Math.round(share * (known.length - 1))];
    this.low = at(0.002);
    this.high = at(0.998);
    if (!(this.high > this.low)) [this.low, this.high] = [known[0], known[known.length - 1]];
    if (!(this.high > this.low)) this.high = this.low + 1;
    this.bounds = [known[0], known[known.length - 1]];
    this.digits = known.every(Number.isInteger) ? 0 : 3;
    const span = this.bounds[1] - this.bounds[0];
    this.bins = MOST_BINS;
    if (this.digits === 0 && span < MOST_BINS) {
      this.bins = span + 1; // a bar for each whole number
      [this.low, this.high] = [this.bounds[0] - 0.5, this.bounds[1] + 0.5];
    }
    this.all = this.counts(values.keys());
    this.build(parent, title);
  }

  bin(value) {
    const place = Math.floor(((value - this.low) / (this.high - this.low)) * this.bins);
    return Math.min(this.bins - 1, Math.max(0, place));
  }

  counts(rows) {
    const counts = new Uint32Array(this.bins);
    for (const row of rows) {
      if (Number.isFinite(this.values[row])) counts[this.bin(this.values[row])] += 1;
    }
    return counts;
  }

  build(parent, title) {
    const box = made("div", { className: "range" }, made("h2", { textContent: title }));
    this.svg = drawn("svg", { viewBox: `0 0 ${this.bins} 100`, preserveAspectRatio: "none" }, box);
    this.svg.setAttribute("role", "img");
    this.svg.setAttribute("aria-label", `Histogram of ${title}; the fields below set a range`);
    this.top = Math.sqrt(Math.max(1, ...this.all));
    this.allBars = [...this.all].map((n, k) => this.bar(k, n, "all"));
    this.inBars = [...this.all].map((n, k) => this.bar(k, n, "in"));
    this.brush = drawn("rect", { class: "brush", y: 0, height: 100, x: 0, width: 0 }, this.svg);
    this.brush.setAttribute("vector-effect", "non-scaling-stroke");
    const field = (name) =>
      made("input", { type: "number", step: "any", ariaLabel: `${title}, ${name}` });
    [this.from, this.to] = [field("least"), field("greatest")];
    [this.from.placeholder, this.to.placeholder] = this.bounds.map((value) => number(value, this.digits));
    for (const input of [this.from, this.to]) input.addEventListener("input", () => this.typed());
    box.append(made("div", {}, this.from, "to", this.to));
    parent.append(box);
    this.listen();
  }

  // Heights are square roots: a bar of one example can be seen beside one of thousands.
  bar(k, n, name) {
    const height = (94 * Math.sqrt(n)) / this.top;
    return drawn(
      "rect",
      { class: name, x: k + 0.06, width: 0.88, y: 100 - height, height },
      this.svg,
    );
  }

  show(rows) {
    this.counts(rows).forEach((n, k) => {
      const height = (94 * Math.sqrt(n)) / this.top;
      this.inBars[k].setAttribute("height", height);
      this.inBars[k].setAttribute("y", 100 - height);
    });
  }

  listen() {
    let start = null;
    const place = (event) => {
      const box = this.svg.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const value = (share) => this.low + share * (this.high - this.low);
    this.svg.addEventListener("pointerdown", (event) => {
      start = place(event);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const [low, high] = [start, place(event)].sort((a, b) => a - b);
      if (high - low < 0.01) return;
      // At an edge of the picture the range is open: the outer bars hold what lies beyond, too.
      this.set(low === 0 ? -Infinity : value(low), high === 1 ? Infinity : value(high));
    });
    this.svg.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(place(event) - start) < 0.01) this.set(-Infinity, Infinity);
      start = null;
    });
  }

  typed() {
    const read = (input, other) => (input.value === "" ? other : Number(input.value));
    this.set(read(this.from, -Infinity), read(this.to, Infinity), false);
  }

  set(low, high, write = true) {
    if (write) {
      this.from.value = low === -Infinity ? "" : Number(low.toPrecision(4));
      this.to.value = high === Infinity ? "" : Number(high.toPrecision(4));
      [low, high] = [low === -Infinity ? low : Number(this.from.value), high === Infinity ? high : Number(this.to.value)];
    }
    const all = low === -Infinity && high === Infinity;
    const share = (value) =>
      Math.min(1, Math.max(0, (value - this.low) / (this.high - this.low))) * this.bins;
    this.brush.setAttribute("x", all ? 0 : share(low));
    this.brush.setAttribute("width", all ? 0 : Math.max(0, share(high) - share(low)));
    this.changed(all ? null : [low, high]);
  }
}
