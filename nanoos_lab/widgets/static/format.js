// @ts-check
/** Numbers, names and durations as people read them. */

/** @param {number} value @returns {string} digits in groups of three, as Python and terminals write them */
export function integer(value) {
  const digits = String(Math.round(Math.abs(value))).replace(/\B(?=(\d{3})+$)/g, ",");
  return (value < 0 ? "\u2212" : "") + digits;
}

/** @param {number} value @param {number} [figures] significant figures @returns {string} */
export function quantity(value, figures = 5) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) return value.toExponential(figures - 1).replaceAll("-", "\u2212").replace("e+", "e");
  const decimals = Math.max(0, figures - 1 - Math.floor(Math.log10(size)));
  const [whole, fraction] = size.toFixed(decimals).split(".");
  return (value < 0 ? "\u2212" : "") + integer(Number(whole)) + (fraction ? "." + fraction : "");
}

/** @param {number|string} value @returns {string} a result, without zeros at the end */
export function result(value) {
  return typeof value === "number" ? quantity(value, 6).replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "") : value;
}

/** @param {number} seconds @returns {string} such as "8 s", "3 min 20 s", "31 min", "2 h 5 min" */
export function duration(seconds) {
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = Math.max(0, parts.findIndex(([count]) => count));
  const kept = Number(parts[first][0]) >= 10 ? 1 : 2;
  const shown = whole ? parts.slice(first, first + kept).filter(([count]) => count) : [[0, "s"]];
  return shown.map(([count, unit]) => `${count}\u202f${unit}`).join(" ");
}

/** @param {number} rate steps per second @returns {string} */
export function speed(rate) {
  return rate >= 100 ? integer(rate) : quantity(rate, 3);
}

/** @param {string} name a column's name in snake case @returns {string} */
export function spoken(name) {
  return name.replaceAll("_", " ");
}

/** @param {{name: string, unit: string}} column @returns {string} */
export function titled(column) {
  return column.unit && column.unit !== "1" ? `${spoken(column.name)} (${column.unit})` : spoken(column.name);
}
