// @ts-check
/** The line of a card that changes parameters of a job on its way: which one, to what, and a button. */

import { element, write } from "./dom.js";
import { result, spoken } from "./format.js";

/**
 * What can be changed, and what was.
 * @typedef {object} SteeringState
 * @property {[string, number|null, string][]} controls   name, value that holds in the end, unit; empty if there is none
 * @property {[number, string][]} marks                   step from which a change holds, and its words
 * @property {number} answers                             how many changes that pages asked for were answered
 */

/** @param {string} unit */
function after(unit) {
  return unit && unit !== "1" ? `\u202f${unit}` : "";
}

/** The line itself. */
export class SteeringLine {
  /** @param {(name: string, value: number) => void} ask carries a change that the user asks for */
  constructor(ask) {
    this.ask = ask;
    /** @type {SteeringState["controls"]} */
    this.controls = [];
    /** What was asked for and is not answered yet, such as "temperature=900"; empty if nothing is. */
    this.asked = "";
    /** When that was sent, in milliseconds of the page's clock, and how many answers there were then. */
    this.sent = 0;
    this.answers = 0;
    this.lost = false;
    // JupyterLab's own keys, such as the arrows that go from cell to cell, mean something else here. It asks what has
    // the focus for this, not what that is in.
    const shortcuts = { "data-lm-suppress-shortcuts": "true" };
    const number = { class: "nanoos-number", type: "number", step: "any", required: "", "aria-label": "New value" };
    this.choice = /** @type {HTMLSelectElement} */ (element("select", { class: "nanoos-parameter", "aria-label": "Parameter to change", ...shortcuts }));
    this.field = /** @type {HTMLInputElement} */ (element("input", { ...number, ...shortcuts }));
    this.unit = element("span", { class: "nanoos-unit" });
    this.apply = element("button", { type: "submit", title: "Change it from the next step on at which the run can", ...shortcuts });
    const value = element("span", {}, this.field, this.unit);
    this.root = element("form", { class: "nanoos-steering", "aria-label": "Steer" }, "Steer", this.choice, "to", value, this.apply);
    this.choice.addEventListener("change", () => this.draw());
    this.field.addEventListener("keydown", (event) => this.onKey(event));
    this.root.addEventListener("submit", (event) => this.onSubmit(event));
  }

  /** @param {SteeringState} state @returns {boolean} whether the answer to what this page asked for has come */
  show(state) {
    const answered = this.asked !== "" && state.answers > this.answers;
    if (answered) this.asked = "";
    this.answers = state.answers;
    this.controls = state.controls;
    this.draw();
    return answered;
  }

  /** Take in no more changes. */
  lose() {
    this.lost = true;
    this.draw();
  }

  /** Make room for another value. */
  clear() {
    this.field.value = "";
  }

  draw() {
    this.root.hidden = this.controls.length === 0;
    const chosen = this.choice.value;
    const offer = this.controls.map(([name, value, unit]) => `${spoken(name)}: ${value === null ? "none" : result(value) + after(unit)}`);
    if (this.choice.dataset.offer !== offer.join("\n")) {
      this.choice.dataset.offer = offer.join("\n");
      this.choice.replaceChildren(...this.controls.map(([name], index) => element("option", { value: name }, offer[index])));
      if (this.controls.some(([name]) => name === chosen)) this.choice.value = chosen;
    }
    const unit = this.controls.find(([name]) => name === this.choice.value)?.[2] ?? "";
    write(this.unit, after(unit));
    write(this.apply, this.asked ? "Applying…" : "Apply");
    for (const part of [this.choice, this.field]) part.disabled = this.lost;
    // A button that is disabled would lose the focus of the keyboard, so while it waits it only says that it is.
    this.apply.toggleAttribute("disabled", this.lost);
    this.apply.setAttribute("aria-disabled", String(this.lost || this.asked !== ""));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.key !== "Enter") return;
    // JupyterLab lets no line break into what it takes for a cell, and with that a form is not sent.
    event.preventDefault();
    /** @type {HTMLFormElement} */ (this.root).requestSubmit();
  }

  /** @param {Event} event */
  onSubmit(event) {
    event.preventDefault();
    const value = this.field.valueAsNumber;
    if (this.asked || this.lost || !Number.isFinite(value)) return;
    this.asked = `${this.choice.value}=${value}`;
    this.sent = performance.now();
    this.ask(this.choice.value, value);
    this.draw();
  }
}
