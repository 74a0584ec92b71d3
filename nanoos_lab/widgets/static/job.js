// @ts-check
/**
 * The job card fed by an anywidget model: `state` and `history` are traits, changes of the curve and log lines are
 * messages. One feed per model, shared by its views; every update is acknowledged, so that the kernel knows whether
 * somebody takes them.
 */

import { Card } from "./card.js";
import { send } from "./order.js";

/** @typedef {import("./plot.js").Series} Series */

/** Seconds between two looks at what a waiting job waits for; nothing tells of that by itself. */
const LOOK_PAUSE = 10;
/** Seconds between two acknowledgements of card updates. */
const ACK_PAUSE = 1;

/**
 * Cut a buffer of rows into rows.
 * @param {DataView} buffer little-endian float64
 * @param {number} width values in a row
 * @returns {Float64Array[]}
 */
function cut(buffer, width) {
  const values = new Float64Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength));
  return Array.from({ length: values.length / width }, (_, index) => values.subarray(index * width, (index + 1) * width));
}

/** What a model has told, and the cards that show it. */
class Store {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Set<Card>} */
    this.cards = new Set();
    /** @type {Series} */
    this.series = { columns: [], rows: [] };
    /** @type {string[]} */
    this.lines = [];
    /** Number of the last change of the curve. */
    this.serial = 0;
    this.acknowledging = 0;
    this.looking = window.setInterval(() => this.look(), 1000 * LOOK_PAUSE);
    this.restart();
    this.acknowledge();
    model.on("change:state", () => this.update());
    model.on("change:history", () => this.restart());
    model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => this.hear(message, buffers));
    model.on("comm_live_update", () => this.lose());
  }

  dispose() {
    window.clearInterval(this.looking);
    window.clearTimeout(this.acknowledging);
  }

  /** @param {Card} card */
  add(card) {
    this.cards.add(card);
    card.update(this.model.get("state"));
    card.curve(this.series);
    card.log(this.lines);
  }

  /** The kernel is gone. */
  lose() {
    this.dispose();
    for (const card of this.cards) card.lose();
  }

  update() {
    for (const card of this.cards) card.update(this.model.get("state"));
    this.acknowledge();
  }

  /** Begin the curve anew, with all that is known of it. */
  restart() {
    const { serial, columns, rows } = this.model.get("history");
    this.serial = serial;
    this.series = { columns, rows: cut(rows, columns.length + 1) };
    for (const card of this.cards) card.curve(this.series);
  }

  /** @param {any} message @param {DataView[]} buffers */
  hear(message, buffers) {
    if (message.kind === "log") this.showLog(message.lines);
    else if (message.kind === "rows" && message.serial === this.serial + 1) this.splice(message, buffers[0]);
    else if (message.kind === "rows" && message.serial > this.serial) send(this.model, { order: "history" });
  }

  /** @param {string[]} lines */
  showLog(lines) {
    this.lines = lines;
    for (const card of this.cards) card.log(lines);
  }

  /** @param {{serial: number, start: number}} message @param {DataView} rows */
  splice({ serial, start }, rows) {
    this.serial = serial;
    this.series.rows.length = start;
    this.series.rows.push(...cut(rows, this.series.columns.length + 1));
    for (const card of this.cards) card.curve(this.series);
  }

  acknowledge() {
    this.acknowledging ||= window.setTimeout(() => {
      this.acknowledging = 0;
      send(this.model, { order: "seen", serial: this.model.get("state").serial });
    }, 1000 * ACK_PAUSE);
  }

  /** Have the kernel look at what a waiting job waits for, while somebody sees the card. */
  look() {
    const waits = ["pending", "queued"].includes(this.model.get("state").status);
    if (waits && this.cards.size && !document.hidden) send(this.model, { order: "look" });
  }
}

export default () => {
  /** @type {Store} */
  let store;
  return {
    initialize(/** @type {{model: any}} */ { model }) {
      store = new Store(model);
      return () => store.dispose();
    },
    render(/** @type {{model: any, el: HTMLElement}} */ { model, el }) {
      const card = new Card(el, (order) => send(model, order));
      store.add(card);
      return () => {
        store.cards.delete(card);
        card.dispose();
      };
    },
  };
};
