// @ts-check
/** The thermo plot: one column over time or steps, with units on both axes. */

import { drawing, element, write } from "./dom.js";
import { integer, quantity, titled } from "./format.js";

/**
 * A curve: row i holds a step and one value per column; NaN where there is none.
 * @typedef {object} Series
 * @property {{name: string, unit: string}[]} columns      the columns after the step
 * @property {Float64Array[]} rows
 */

/**
 * Round numbers that divide a range.
 * @param {number} low @param {number} high @param {number} count about how many
 * @returns {number[]}
 */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? rough;
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step);
  return found;
}

/** Columns that fall by powers of ten as a calculation converges. */
const FALLING = new Set(["fmax", "scf_accuracy"]);

/** @param {number} low @param {number} high logarithms @returns {number[]} at most five powers of ten between them */
function powers(low, high) {
  const stride = Math.ceil((Math.floor(high) - Math.ceil(low) + 1) / 5);
  const found = [];
  for (let power = Math.ceil(low); power <= high; power += stride) found.push(10 ** power);
  return found;
}

/** @param {number[]} values @returns {string[]} labels with just as many decimals as tell them apart */
function labels(values) {
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : 1;
  const large = Math.max(...values.map(Math.abs), 0);
  if (large >= 1e7 || (large < 1e-3 && large > 0)) return values.map((value) => quantity(value, 3));
  const decimals = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9) + (/^(25|2\.5)/.test(step.toPrecision(2)) && step < 10 ? 1 : 0));
  return values.map((value) => {
    const [whole, fraction] = Math.abs(value).toFixed(Math.min(decimals, 8)).split(".");
    return (value < 0 ? "\u2212" : "") + integer(Number(whole)) + (fraction ? "." + fraction : "");
  });
}

/** About the width of a letter of the plot, in pixels. */
const LETTER = 6;

/**
 * Where a step is on the abscissa, between the rows around it; null outside of them.
 * @param {Float64Array[]} rows @param {number} x @param {number} step @returns {number|null}
 */
function abscissaAt(rows, x, step) {
  const next = rows.findIndex((row) => row[0] >= step);
  if (next < 0) return null;
  if (next === 0) return rows[0][0] === step ? rows[0][x] : null;
  const [before, after] = [rows[next - 1], rows[next]];
  return before[x] + ((step - before[0]) / (after[0] - before[0])) * (after[x] - before[x]);
}

/** The thermo plot: one column over time or steps, with units on both axes. */
export class Plot {
  constructor() {
    /** @type {Series} */
    this.series = { columns: [], rows: [] };
    this.task = "";
    /** @type {[number, string][]} steps from which changes of the run hold, and their words */
    this.marks = [];
    /** @type {string|null} what the user chose */
    this.chosen = null;
    /** @type {number|null} index of the row under the pointer or the arrow keys */
    this.pointed = null;
    this.width = 600;
    this.choice = /** @type {HTMLSelectElement} */ (element("select", { class: "nanoos-choice", "aria-label": "Quantity to plot" }));
    this.value = element("span", { class: "nanoos-value" });
    this.canvas = drawing("svg", { class: "nanoos-plot", role: "img", tabindex: 0 });
    this.root = element("div", { class: "nanoos-chart" }, element("div", { class: "nanoos-chart-head" }, this.choice, this.value), this.canvas);
    this.choice.addEventListener("change", () => {
      this.chosen = this.choice.value;
      this.draw();
    });
    this.canvas.addEventListener("pointermove", (event) => this.pointAt(/** @type {PointerEvent} */ (event)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("blur", () => this.point(null));
    this.canvas.addEventListener("keydown", (event) => this.onKey(/** @type {KeyboardEvent} */ (event)));
    this.sizes = new ResizeObserver(([entry]) => {
      this.width = Math.max(240, Math.round(entry.contentRect.width));
      this.draw();
    });
    this.sizes.observe(this.root);
  }

  dispose() {
    this.sizes.disconnect();
  }

  /** @param {Series} series @param {string} task */
  show(series, task) {
    this.series = series;
    this.task = task;
    this.draw();
  }

  /** Mark where the run was changed. @param {[number, string][]} marks step and words */
  mark(marks) {
    if (JSON.stringify(marks) === JSON.stringify(this.marks)) return;
    this.marks = marks;
    this.draw();
  }

  /** @returns {{name: string, unit: string}[]} columns that hold a number somewhere, without the abscissa */
  get plottable() {
    return this.series.columns.filter((column, index) => column.name !== "time" && this.series.rows.some((row) => Number.isFinite(row[index + 1])));
  }

  /** @returns {string} the user's choice, or what tells most about the task */
  get column() {
    const names = this.plottable.map((column) => column.name);
    const telling = { md: "temperature", static: "scf_accuracy" }[this.task] ?? "fmax";
    const wanted = [this.chosen, telling, "potential_energy", "energy", names[0]];
    return wanted.find((name) => name && names.includes(name)) ?? "";
  }

  /** @param {string} name @returns {number} index into a row; 0 is the step */
  place(name) {
    return this.series.columns.findIndex((column) => column.name === name) + 1;
  }

  draw() {
    const names = this.plottable;
    this.root.hidden = this.series.rows.length === 0 || names.length === 0;
    if (this.root.hidden) return;
    this.offer(names);
    const y = this.place(this.column);
    const rows = this.series.rows.filter((row) => Number.isFinite(row[y]));
    const time = this.place("time");
    // Where nothing moves there is no time.
    const x = time && rows.every((row) => Number.isFinite(row[time])) && rows.some((row) => row[time] > rows[0][time]) ? time : 0;
    this.frame = this.scale(rows, x, y);
    this.canvas.setAttribute("viewBox", `0 0 ${this.width} ${this.frame.height}`);
    this.canvas.setAttribute("height", String(this.frame.height));
    this.canvas.replaceChildren(...this.axes(this.frame), ...this.changes(this.frame), ...this.curve(this.frame), ...this.cursor(this.frame));
    this.tell(this.frame);
  }

  /** @param {{name: string, unit: string}[]} columns */
  offer(columns) {
    const wanted = columns.map(titled).join("\n");
    if (this.choice.dataset.offer !== wanted) {
      this.choice.dataset.offer = wanted;
      this.choice.replaceChildren(...columns.map((column) => element("option", { value: column.name }, titled(column))));
    }
    this.choice.value = this.column;
  }

  /** @param {Float64Array[]} rows @param {number} x @param {number} y */
  scale(rows, x, y) {
    const column = this.series.columns[y - 1];
    const abscissa = x ? this.series.columns[x - 1] : { name: "step", unit: "1" };
    const xs = rows.map((row) => row[x]);
    const ys = rows.map((row) => row[y]);
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    const lowest = Math.min(...ys);
    const decades = FALLING.has(column.name) && lowest > 0 && Math.max(...ys) > 30 * lowest;
    const lift = decades ? Math.log10 : (/** @type {number} */ value) => value;
    let [low, high] = [lift(lowest), lift(Math.max(...ys))];
    const room = high > low ? 0.06 * (high - low) : Math.max(Math.abs(high) * 0.01, 1e-6);
    [low, high] = [low - room, high + room];
    const yTicks = decades ? powers(low, high) : ticks(low, high, 4);
    const yLabels = decades ? yTicks.map((value) => quantity(value, 1)) : labels(yTicks);
    const box = { left: 12 + 6.4 * Math.max(...yLabels.map((label) => label.length), 2), right: this.width - 14, top: 8, bottom: 116 };
    const across = (/** @type {number} */ value) => box.left + ((value - left) / (right - left || 1)) * (box.right - box.left);
    const down = (/** @type {number} */ value) => box.bottom - ((lift(value) - low) / (high - low)) * (box.bottom - box.top);
    return { rows, x, y, column, abscissa, left, right, box, yTicks, yLabels, across, down, height: 148 };
  }

  /** @param {ReturnType<Plot["scale"]>} frame */
  axes({ box, left, right, yTicks, yLabels, across, down, abscissa, height }) {
    const xTicks = right > left ? ticks(left, right, Math.max(2, Math.floor(this.width / 130))) : [left];
    const xLabels = labels(xTicks);
    const made = yTicks.map((value) => drawing("line", { class: "nanoos-grid", x1: box.left, x2: box.right, y1: down(value), y2: down(value) }));
    const label = (/** @type {string} */ text, /** @type {Record<string, string|number>} */ at) => {
      const node = drawing("text", { class: "nanoos-tick", ...at });
      node.textContent = text;
      return node;
    };
    yTicks.forEach((value, index) => made.push(label(yLabels[index], { x: box.left - 7, y: down(value) + 3.5, "text-anchor": "end" })));
    const title = label(titled(abscissa), { x: box.right, y: height - 4, "text-anchor": "end" });
    made.push(drawing("line", { class: "nanoos-axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    xTicks.forEach((value, index) => made.push(label(xLabels[index], { x: across(value), y: box.bottom + 14, "text-anchor": across(value) > box.right - 20 ? "end" : "middle" })));
    return [...made, title];
  }

  /** @param {ReturnType<Plot["scale"]>} frame */
  curve({ rows, x, y, across, down }) {
    const points = rows.map((row) => `${across(row[x]).toFixed(1)} ${down(row[y]).toFixed(1)}`);
    const last = rows[rows.length - 1];
    return [
      drawing("path", { class: "nanoos-curve", d: "M" + points.join("L") }),
      drawing("circle", { class: "nanoos-dot", cx: across(last[x]), cy: down(last[y]), r: 2.5 }),
    ];
  }

  /** Lines where the run was changed, with their words as far as there is room. @param {ReturnType<Plot["scale"]>} frame */
  changes({ rows, x, across, box }) {
    let free = box.left;
    return this.marks.flatMap(([step, words]) => {
      const at = abscissaAt(rows, x, step);
      if (at === null) return [];
      const place = across(at);
      const line = drawing("line", { class: "nanoos-change", x1: place, x2: place, y1: box.top - 8, y2: box.bottom });
      const width = LETTER * words.length;
      const before = place + 4 + width > box.right;
      const [from, to] = before ? [place - 4 - width, place] : [place, place + 4 + width];
      if (from < free) return [line];
      free = to;
      const text = drawing("text", { class: "nanoos-change-words", x: before ? place - 4 : place + 4, y: box.top + 2, "text-anchor": before ? "end" : "start" });
      text.textContent = words;
      return [line, text];
    });
  }

  /** @param {ReturnType<Plot["scale"]>} frame */
  cursor({ rows, x, y, across, down, box }) {
    if (this.pointed === null || !rows[this.pointed]) return [];
    const row = rows[this.pointed];
    return [
      drawing("line", { class: "nanoos-cursor", x1: across(row[x]), x2: across(row[x]), y1: box.top, y2: box.bottom }),
      drawing("circle", { class: "nanoos-dot", cx: across(row[x]), cy: down(row[y]), r: 3.5 }),
    ];
  }

  /** Say the value under the cursor, else the newest one. @param {ReturnType<Plot["scale"]>} frame */
  tell({ rows, x, y, column, abscissa }) {
    const row = (this.pointed !== null && rows[this.pointed]) || rows[rows.length - 1];
    const unit = (/** @type {{unit: string}} */ of) => (of.unit && of.unit !== "1" ? `\u202f${of.unit}` : "");
    const where = this.pointed === null ? "" : `  at ${abscissa.name} ${quantity(row[x], 6)}${unit(abscissa)}`;
    write(this.value, `${quantity(row[y])}${unit(column)}${where}`);
    const changed = this.marks.map(([step, words]) => `; ${words} from step ${integer(step)} on`).join("");
    this.canvas.setAttribute("aria-label", `${titled(column)} over ${titled(abscissa)}, ${rows.length} points, newest ${quantity(rows[rows.length - 1][y])}; arrow keys read it${changed}`);
  }

  /** @param {number|null} index */
  point(index) {
    if (index === this.pointed) return;
    this.pointed = index;
    this.draw();
  }

  /** @param {PointerEvent} event */
  pointAt(event) {
    if (!this.frame) return;
    const { rows, x, across } = this.frame;
    const bounds = this.canvas.getBoundingClientRect();
    const at = ((event.clientX - bounds.left) / bounds.width) * this.width;
    let nearest = 0;
    rows.forEach((row, index) => {
      if (Math.abs(across(row[x]) - at) < Math.abs(across(rows[nearest][x]) - at)) nearest = index;
    });
    this.point(nearest);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const last = (this.frame?.rows.length ?? 1) - 1;
    const stride = Math.max(1, Math.round(last / 50));
    const here = this.pointed ?? last;
    /** @type {Record<string, number|null>} */
    const moves = { ArrowLeft: Math.max(0, here - stride), ArrowRight: Math.min(last, here + stride), Home: 0, End: last, Escape: null };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    this.point(moves[event.key]);
  }
}
