// @ts-check
/**
 * The job card: what a notebook shows for a job.
 *
 * `new Card(root, send)` knows no kernel, widget or server: it draws a plain `CardState`, a `Series` and log lines,
 * and hands what the user asks for to `send(order)`. Whatever brings these values may feed it: now an anywidget model
 * (job.js), later the server's event stream, for a card that lives without a kernel.
 */

import { button, changed, element, secondsSince, write } from "./dom.js";
import { duration, integer, result, speed, spoken } from "./format.js";
import { Plot } from "./plot.js";
import { ICONS, WORDS, icon } from "./status.js";
import { SteeringLine } from "./steering.js";

/** @typedef {import("./plot.js").Series} Series */

/**
 * @typedef {object} CardState
 * @property {string} id
 * @property {string} name
 * @property {string} formula            chemical formula; empty if the task brings its own structure
 * @property {number} atoms
 * @property {string} engine
 * @property {string} task
 * @property {string} queue
 * @property {"pending"|"queued"|"running"|"succeeded"|"failed"|"cancelled"} status
 * @property {number} attempt
 * @property {number} maxAttempts
 * @property {number} step
 * @property {number|null} total         null if nobody knows
 * @property {number|null} rate          steps per second
 * @property {number|null} eta           seconds
 * @property {number|null} elapsed       seconds
 * @property {boolean} cancelling
 * @property {string} warning
 * @property {string} caveat
 * @property {string} notice
 * @property {[string, string]|null} hint   head and text
 * @property {{reason: keyof typeof REASONS, message: string, remedy: string}|null} failure
 * @property {[string, number|string, string][]} results   name, value, unit
 * @property {import("./steering.js").SteeringState} steering
 * @property {boolean} logShown
 * @property {boolean} structureShown
 */

/**
 * @typedef {{order: "cancel"} | {order: "structure", shown: boolean} | {order: "log", shown: boolean}
 *   | {order: "steer", name: string, value: number}} Order
 */

/** Seconds after which it is explained that nobody has taken in an order. */
const PATIENCE = 3;
/** Seconds within which the second click is expected. */
const SECOND_CLICK = 4;
/** A run longer than this, in seconds, is cancelled by two clicks. */
const DEAR_RUN = 60;

/** What the classes of failure are called. */
const REASONS = {
  input: "Wrong input",
  convergence: "Not converged",
  resource: "Something is missing",
  time_limit: "Time limit",
  memory: "Out of memory",
  lost: "Worker lost",
  engine: "Engine error",
  bug: "Bug in nanoos_lab",
};

/** @param {string} formula @returns {Node[]} the formula with its numbers as subscripts */
function typeset(formula) {
  return formula.split(/(\d+)/).filter(Boolean).map((part) => (/\d/.test(part) ? element("sub", {}, part) : document.createTextNode(part)));
}

/** @param {CardState} state @returns {string} */
function stepsText(state) {
  if (!state.total && !state.step) return "";
  return state.total ? `${integer(state.step)} / ${integer(state.total)} steps` : `${integer(state.step)} steps`;
}

/** @param {CardState} state @param {number} waited seconds since the state came @returns {string} */
function timeText(state, waited) {
  const parts = [];
  const running = state.status === "running";
  if (running && state.rate) parts.push(`${speed(state.rate)} steps/s`);
  if (state.elapsed !== null) parts.push((running ? "" : "took ") + duration(state.elapsed + (running ? waited : 0)));
  if (running && state.eta !== null) parts.push(`${duration(Math.max(0, state.eta - waited))} left`);
  if (state.status === "queued") parts.push(`in queue ${state.queue}`);
  if (state.attempt > 1) parts.push(`attempt ${state.attempt} of ${state.maxAttempts}`);
  return parts.join("  ·  ");
}

/** @param {CardState} state */
function finished(state) {
  return ["succeeded", "failed", "cancelled"].includes(state.status);
}

/** @param {CardState} state @returns {number|null} how much is done, 0–1; null if nobody knows */
function fraction(state) {
  if (state.status === "succeeded") return 1;
  return state.total ? Math.min(1, state.step / state.total) : null;
}

/** What a person should know, the cause first. @param {CardState} state @returns {["failed"|"remedy"|"warning", string, string][]} */
function notesOf(state) {
  /** @type {["failed"|"remedy"|"hint"|"warning", string, string][]} */
  const notes = [];
  if (state.failure) notes.push(["failed", REASONS[state.failure.reason] ?? "Failed", state.failure.message]);
  if (state.failure?.remedy) notes.push(["remedy", "What to do", state.failure.remedy]);
  if (state.hint) notes.push(["hint", ...state.hint]);
  if (state.warning) notes.push(["warning", "Waiting", state.warning]);
  if (state.caveat) notes.push(["warning", "Not converged", state.caveat]);
  if (state.notice) notes.push(["warning", "Not done", state.notice]);
  return notes;
}

/** Make the elements of a card that change. */
function makeParts() {
  const filled = element("div");
  const cancel = button("Cancel", "End this job; what it has sampled so far is kept");
  cancel.classList.add("nanoos-cancel");
  return {
    status: element("span", { class: "nanoos-status" }),
    name: element("span", { class: "nanoos-name" }),
    about: element("span", { class: "nanoos-about" }),
    log: button("Log", "Show what the engine said"),
    structure: button("3D", "Show the structure"),
    cancel,
    filled,
    bar: element("div", { class: "nanoos-bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" }, filled),
    steps: element("span"),
    times: element("span"),
    notes: element("div"),
    results: element("div", { class: "nanoos-results" }),
    logText: element("pre", { class: "nanoos-log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: "0" }),
    voice: element("span", { class: "nanoos-voice", role: "status", "aria-live": "polite" }),
  };
}

/** @param {HTMLElement} root @param {ReturnType<typeof makeParts>} parts @param {HTMLElement} steering @param {HTMLElement} plot */
function layOut(root, parts, steering, plot) {
  const titles = element("span", { class: "nanoos-titles" }, parts.name, parts.about);
  const buttons = element("span", { class: "nanoos-buttons" }, parts.log, parts.structure, parts.cancel);
  const head = element("div", { class: "nanoos-head" }, parts.status, titles, buttons);
  const figures = element("div", { class: "nanoos-figures" }, parts.steps, parts.times);
  root.classList.add("nanoos-card");
  root.replaceChildren(head, parts.bar, figures, steering, parts.notes, parts.results, plot, parts.logText, parts.voice);
}

/** The card inside an element. */
export class Card {
  /**
   * @param {HTMLElement} root
   * @param {(order: Order) => void} send carries what the user asks for
   */
  constructor(root, send) {
    this.root = root;
    this.send = send;
    /** @type {CardState|null} */
    this.state = null;
    /** When the state came, and when a cancel was sent, in milliseconds of the page's clock; 0 for never. */
    this.since = 0;
    this.cancelSent = 0;
    /** Timer within which a second click cancels a dear run; 0 outside of it. */
    this.armed = 0;
    /** Whether what feeds the card is gone. */
    this.lost = false;
    this.plot = new Plot();
    this.steering = new SteeringLine((name, value) => this.send({ order: "steer", name, value }));
    this.parts = makeParts();
    layOut(root, this.parts, this.steering.root, this.plot.root);
    this.listen();
    this.clock = window.setInterval(() => this.tick(), 1000);
  }

  listen() {
    this.parts.log.addEventListener("click", () => this.state && this.send({ order: "log", shown: !this.state.logShown }));
    this.parts.structure.addEventListener("click", () => this.state && this.send({ order: "structure", shown: !this.state.structureShown }));
    this.parts.cancel.addEventListener("click", () => this.onCancel());
  }

  dispose() {
    window.clearInterval(this.clock);
    window.clearTimeout(this.armed);
    this.plot.dispose();
  }

  /** Show another state. @param {CardState} state */
  update(state) {
    if (this.state && this.state.status !== state.status) write(this.parts.voice, `${state.name}: ${WORDS[state.status]}`);
    this.state = state;
    this.since = performance.now();
    if (finished(state) || state.notice) this.cancelSent = 0;
    this.steer(state);
    this.draw();
  }

  /** Show how the job is steered, and say what has come of what this page asked for. @param {CardState} state */
  steer(state) {
    this.plot.mark(state.steering.marks);
    if (!this.steering.show(state.steering)) return;
    if (!state.notice) this.steering.clear();
    write(this.parts.voice, state.notice || `${state.name} is being steered`);
  }

  /** Show a curve. @param {Series} series */
  curve(series) {
    this.plot.show(series, this.state?.task ?? "");
  }

  /** Show the newest lines of the log. @param {string[]} lines */
  log(lines) {
    const pane = this.parts.logText;
    const atEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 8;
    write(pane, lines.join("\n") || "The engine has said nothing yet.");
    if (atEnd) pane.scrollTop = pane.scrollHeight;
  }

  /** Stand still, and say so: what feeds the card is gone, and nobody would hear an order. */
  lose() {
    this.lost = true;
    this.steering.lose();
    this.draw();
  }

  /** Let the clock go on between two states. */
  tick() {
    if (!this.state || finished(this.state) || this.lost) return;
    this.showProgress(this.state);
    this.showNotes(this.state);
  }

  draw() {
    if (!this.state) return;
    this.root.dataset.status = this.state.status;
    this.showHead(this.state);
    this.showProgress(this.state);
    this.showButtons(this.state);
    this.showNotes(this.state);
    this.showResults(this.state);
  }

  /** @param {CardState} state */
  showHead(state) {
    if (changed(this.parts.status, state.status)) this.parts.status.replaceChildren(icon(ICONS[state.status]), WORDS[state.status]);
    write(this.parts.name, state.name);
    const atoms = state.atoms ? `${integer(state.atoms)} atom${state.atoms === 1 ? "" : "s"}` : "";
    const facts = [atoms, state.engine, state.task].filter(Boolean).join(" · ");
    if (!changed(this.parts.about, state.formula + facts)) return;
    this.parts.about.title = `job ${state.id}`;
    this.parts.about.replaceChildren(...typeset(state.formula), (state.formula ? " · " : "") + facts);
  }

  /** @param {CardState} state */
  showProgress(state) {
    const done = fraction(state);
    const percent = done === null ? null : Math.floor(100 * done);
    this.parts.bar.classList.toggle("nanoos-endless", done === null && state.status === "running");
    this.parts.filled.style.width = `${(100 * (done ?? 0)).toFixed(2)}%`;
    if (percent === null) this.parts.bar.removeAttribute("aria-valuenow");
    else this.parts.bar.setAttribute("aria-valuenow", String(percent));
    const spokenParts = [WORDS[state.status], percent === null ? "" : `${percent} %`, stepsText(state)];
    this.parts.bar.setAttribute("aria-valuetext", spokenParts.filter(Boolean).join(", "));
    write(this.parts.steps, stepsText(state));
    write(this.parts.times, timeText(state, secondsSince(this.since)));
  }

  /** @param {CardState} state */
  showButtons(state) {
    const asked = state.cancelling || (this.cancelSent > 0 && !finished(state));
    this.parts.cancel.hidden = finished(state);
    this.parts.cancel.disabled = asked || this.lost;
    this.parts.log.disabled = this.parts.structure.disabled = this.lost;
    write(this.parts.cancel, asked ? "Cancelling…" : this.armed ? "Cancel it?" : "Cancel");
    this.parts.log.setAttribute("aria-pressed", String(state.logShown));
    this.parts.structure.setAttribute("aria-pressed", String(state.structureShown));
    this.parts.structure.hidden = state.atoms === 0;
    this.parts.logText.hidden = !state.logShown;
  }

  /** @param {CardState} state */
  showNotes(state) {
    const notes = notesOf(state);
    const busy = (/** @type {string} */ command) => `The kernel is busy and has not taken it in yet; nanoos-lab ${command} in a terminal acts at once.`;
    const unheard = this.cancelSent > 0 && !state.cancelling && secondsSince(this.cancelSent) > PATIENCE;
    if (this.lost && !finished(state)) notes.push(["warning", "No longer live", `The kernel that fed this card is gone; nl.load("${state.id}") shows the job live again.`]);
    else if (unheard) notes.push(["warning", "Cancel", busy(`cancel ${state.id}`)]);
    else if (this.steering.asked && secondsSince(this.steering.sent) > PATIENCE) notes.push(["warning", "Steer", busy(`steer ${state.id} ${this.steering.asked}`)]);
    if (!changed(this.parts.notes, JSON.stringify(notes))) return;
    this.parts.notes.replaceChildren(
      ...notes.map(([kind, head, text]) =>
        element("p", { class: `nanoos-note nanoos-${kind}` }, kind === "remedy" || kind === "hint" ? "" : icon(ICONS[kind]), element("b", {}, head), " ", text),
      ),
    );
  }

  /** @param {CardState} state */
  showResults(state) {
    this.parts.results.hidden = state.results.length === 0;
    if (!changed(this.parts.results, JSON.stringify(state.results))) return;
    this.parts.results.replaceChildren(
      ...state.results.map(([name, value, unit]) =>
        element("span", {}, element("span", {}, spoken(name)), " ", result(value) + (unit && unit !== "1" ? `\u202f${unit}` : "")),
      ),
    );
  }

  /** Cancel; a run that has cost much asks for a second click. */
  onCancel() {
    if (!this.state) return;
    const dear = (this.state.elapsed ?? 0) + secondsSince(this.since) > DEAR_RUN;
    if (dear && !this.armed) {
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
