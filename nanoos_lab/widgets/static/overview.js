// @ts-check
/**
 * The overview of a group: what a notebook shows for many jobs.
 *
 * `new Overview(root, send)` knows no kernel, widget or server: it draws a plain `OverviewState` and hands what the user
 * asks for to `send(order)`.
 */

import { button, changed, element, secondsSince, write } from "./dom.js";
import { duration, integer } from "./format.js";
import { ICONS, WORDS, icon } from "./status.js";

/** @typedef {import("./status.js").Status} Status */

/**
 * @typedef {object} OverviewState
 * @property {string} title
 * @property {string} about
 * @property {Status} status             that of the group as a whole
 * @property {boolean} done              whether all have ended
 * @property {[Status, number][]} counts those that are not zero
 * @property {[Status, number][]} shares parts of the bar from left to right, 0–1
 * @property {number} progress           0–1
 * @property {number} left               how many have not ended
 * @property {number|null} eta           seconds
 * @property {boolean} cancelling
 * @property {string} notice
 * @property {OverviewRow[]} rows        the foremost jobs
 * @property {number} others             how many have no row
 */

/**
 * @typedef {object} OverviewRow
 * @property {string} id
 * @property {string} name
 * @property {Status} status
 * @property {number|null} done          0–1; null if nobody knows
 * @property {string} words              how far it is, or why it failed
 */

/** Seconds after which it is explained that nobody has taken in an order. */
const PATIENCE = 3;
/** Seconds within which the second click is expected. */
const SECOND_CLICK = 4;

/** @param {number} count @returns {string} */
function jobs(count) {
  return `${integer(count)} ${count === 1 ? "job" : "jobs"}`;
}

/** @param {number} done 0–1 @returns {string} never 100 % before the end */
function percent(done) {
  return `${Math.floor(100 * done)}\u202f%`;
}

/** Make the elements of an overview that change. */
function makeParts() {
  const cancel = button("Cancel", "End all these jobs; what they have sampled so far is kept");
  cancel.classList.add("nanoos-cancel");
  return {
    status: element("span", { class: "nanoos-status" }),
    name: element("span", { class: "nanoos-name" }),
    about: element("span", { class: "nanoos-about" }),
    cancel,
    bar: element("div", { class: "nanoos-bar nanoos-parts", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" }),
    counts: element("span", { class: "nanoos-counts" }),
    times: element("span"),
    notes: element("div"),
    body: element("tbody"),
    others: element("div", { class: "nanoos-others" }),
    voice: element("span", { class: "nanoos-voice", role: "status", "aria-live": "polite" }),
  };
}

/** @param {HTMLElement} root @param {ReturnType<typeof makeParts>} parts */
function layOut(root, parts) {
  const titles = element("span", { class: "nanoos-titles" }, parts.name, parts.about);
  const head = element("div", { class: "nanoos-head" }, parts.status, titles, element("span", { class: "nanoos-buttons" }, parts.cancel));
  const figures = element("div", { class: "nanoos-figures" }, parts.counts, parts.times);
  const table = element("table", { class: "nanoos-jobs", "aria-label": "Jobs" }, parts.body);
  const pane = element("div", { class: "nanoos-pane", tabindex: "0", role: "region", "aria-label": "Jobs" }, table);
  root.classList.add("nanoos-card", "nanoos-group");
  root.replaceChildren(head, parts.bar, figures, parts.notes, pane, parts.others, parts.voice);
}

/** A row of the table, which is filled again and again. */
function makeRow() {
  const filled = element("div");
  const parts = {
    status: element("td", { class: "nanoos-status" }),
    name: element("td", { class: "nanoos-name" }),
    filled,
    done: element("td", { class: "nanoos-done" }, element("div", { class: "nanoos-bar" }, filled)),
    words: element("td", { class: "nanoos-words" }),
  };
  return { ...parts, root: element("tr", {}, parts.status, parts.name, parts.done, parts.words) };
}

/** The overview inside an element. */
export class Overview {
  /**
   * @param {HTMLElement} root
   * @param {(order: {order: "cancel"}) => void} send carries what the user asks for
   */
  constructor(root, send) {
    this.root = root;
    this.send = send;
    /** @type {OverviewState|null} */
    this.state = null;
    /** When the state came, and when a cancel was sent, in milliseconds of the page's clock; 0 for never. */
    this.since = 0;
    this.cancelSent = 0;
    /** Timer within which a second click cancels; 0 outside of it. */
    this.armed = 0;
    /** Whether what feeds the overview is gone. */
    this.lost = false;
    /** @type {ReturnType<typeof makeRow>[]} */
    this.rows = [];
    this.parts = makeParts();
    layOut(root, this.parts);
    this.parts.cancel.addEventListener("click", () => this.onCancel());
    this.clock = window.setInterval(() => this.tick(), 1000);
  }

  dispose() {
    window.clearInterval(this.clock);
    window.clearTimeout(this.armed);
  }

  /** Show another state. @param {OverviewState} state */
  update(state) {
    if (this.state && this.state.done !== state.done && state.done) write(this.parts.voice, `${state.title}: ${WORDS[state.status]}`);
    this.state = state;
    this.since = performance.now();
    if (state.done || state.notice) this.cancelSent = 0;
    this.draw();
  }

  /** Stand still, and say so: what feeds the overview is gone, and nobody would hear an order. */
  lose() {
    this.lost = true;
    this.draw();
  }

  /** Let the clock go on between two states. */
  tick() {
    if (!this.state || this.state.done || this.lost) return;
    this.showTimes(this.state);
    this.showNotes(this.state);
  }

  draw() {
    if (!this.state) return;
    this.root.dataset.status = this.state.status;
    this.showHead(this.state);
    this.showBar(this.state);
    this.showTimes(this.state);
    this.showNotes(this.state);
    this.showRows(this.state);
  }

  /** @param {OverviewState} state */
  showHead(state) {
    if (changed(this.parts.status, state.status)) this.parts.status.replaceChildren(icon(ICONS[state.status]), WORDS[state.status]);
    write(this.parts.name, state.title);
    write(this.parts.about, state.about);
    const asked = state.cancelling || this.cancelSent > 0;
    this.parts.cancel.hidden = state.done;
    this.parts.cancel.disabled = asked || this.lost;
    write(this.parts.cancel, asked ? "Cancelling…" : this.armed ? `Cancel ${jobs(state.left)}?` : "Cancel");
  }

  /** @param {OverviewState} state */
  showBar(state) {
    while (this.parts.bar.children.length < state.shares.length) this.parts.bar.append(element("div"));
    state.shares.forEach(([status, share], place) => {
      const part = /** @type {HTMLElement} */ (this.parts.bar.children[place]);
      part.dataset.status = status;
      part.style.width = `${(100 * share).toFixed(2)}%`;
    });
    const words = state.counts.map(([status, count]) => `${integer(count)} ${status}`);
    this.parts.bar.setAttribute("aria-valuenow", String(Math.floor(100 * state.progress)));
    this.parts.bar.setAttribute("aria-valuetext", [percent(state.progress), ...words].join(", "));
    if (!changed(this.parts.counts, words.join())) return;
    this.parts.counts.replaceChildren(
      ...state.counts.map(([status], place) => element("span", { class: "nanoos-count", "data-status": status }, icon(ICONS[status]), words[place])),
    );
  }

  /** @param {OverviewState} state */
  showTimes(state) {
    const left = state.eta === null || this.lost ? "" : `  ·  about ${duration(Math.max(1, state.eta - secondsSince(this.since)))} left`;
    write(this.parts.times, percent(state.progress) + left);
  }

  /** @param {OverviewState} state */
  showNotes(state) {
    const unheard = this.cancelSent > 0 && !state.cancelling && secondsSince(this.cancelSent) > PATIENCE;
    /** @type {[string, string][]} */
    const notes = state.notice ? [["Not done", state.notice]] : [];
    if (this.lost && !state.done) notes.push(["No longer live", "The kernel that fed this overview is gone; the jobs go on, and nl.jobs() lists them."]);
    else if (unheard) notes.push(["Cancel", "The kernel is busy and has not taken it in yet."]);
    if (!changed(this.parts.notes, JSON.stringify(notes))) return;
    this.parts.notes.replaceChildren(
      ...notes.map(([head, text]) => element("p", { class: "nanoos-note nanoos-warning" }, icon(ICONS.warning), element("b", {}, head), " ", text)),
    );
  }

  /** @param {OverviewState} state */
  showRows(state) {
    while (this.rows.length < state.rows.length) this.rows.push(makeRow());
    this.rows.length = state.rows.length;
    state.rows.forEach((row, place) => this.showRow(this.rows[place], row));
    if (this.parts.body.children.length !== this.rows.length) this.parts.body.replaceChildren(...this.rows.map((row) => row.root));
    write(this.parts.others, state.others ? `and ${integer(state.others)} more` : "");
  }

  /** @param {ReturnType<typeof makeRow>} parts @param {OverviewRow} row */
  showRow(parts, row) {
    parts.root.dataset.status = row.status;
    if (changed(parts.status, row.status)) parts.status.replaceChildren(icon(ICONS[row.status]), WORDS[row.status]);
    write(parts.name, row.name);
    parts.name.title = `job ${row.id}`;
    parts.filled.style.width = `${(100 * (row.done ?? 0)).toFixed(1)}%`;
    write(parts.words, row.words);
    parts.words.title = row.words;
  }

  /** Cancel, by two clicks: it is many jobs. */
  onCancel() {
    if (!this.state) return;
    if (!this.armed) {
      this.armed = window.setTimeout(() => {
        this.armed = 0;
        this.draw();
      }, 1000 * SECOND_CLICK);
    } else {
      window.clearTimeout(this.armed);
      this.armed = 0;
      this.cancelSent = performance.now();
      this.send({ order: "cancel" });
    }
    this.draw();
  }
}
