// @ts-check
/**
 * The job card fed by an anywidget model: `state` and `history` are traits, changes of the curve and log lines are
 * messages. One feed per model, shared by its views; every update is acknowledged, so that the kernel knows whether
 * somebody takes them.
 */

import { Card } from "./card.js";

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

export default () => {
  /** @type {Set<Card>} */
  const cards = new Set();
  /** @type {Series} */
  let series = { columns: [], rows: [] };
  /** @type {string[]} */
  let lines = [];
  let serial = 0;
  let acknowledging = 0;

  return {
    initialize(/** @type {{model: any}} */ { model }) {
      const acknowledge = () => {
        acknowledging ||= window.setTimeout(() => {
          acknowledging = 0;
          model.send({ order: "seen", serial: model.get("state").serial });
        }, 1000 * ACK_PAUSE);
      };
      const restart = () => {
        const history = model.get("history");
        serial = history.serial;
        series = { columns: history.columns, rows: cut(history.rows, history.columns.length + 1) };
        for (const card of cards) card.curve(series);
      };
      const look = window.setInterval(() => {
        const waits = ["pending", "queued"].includes(model.get("state").status);
        if (waits && cards.size && !document.hidden) model.send({ order: "look" });
      }, 1000 * LOOK_PAUSE);
      restart();
      acknowledge();
      model.on("change:state", () => {
        for (const card of cards) card.update(model.get("state"));
        acknowledge();
      });
      model.on("change:history", restart);
      model.on("comm_live_update", () => {
        window.clearTimeout(acknowledging);
        window.clearInterval(look);
        for (const card of cards) card.lose();
      });
      model.on("msg:custom", (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
        if (message.kind === "log") {
          lines = message.lines;
          for (const card of cards) card.log(lines);
        } else if (message.kind === "rows" && message.serial === serial + 1) {
          serial = message.serial;
          series.rows.length = message.start;
          series.rows.push(...cut(buffers[0], series.columns.length + 1));
          for (const card of cards) card.curve(series);
        } else if (message.kind === "rows" && message.serial > serial) {
          model.send({ order: "history" });
        }
      });
      return () => window.clearInterval(look);
    },
    render(/** @type {{model: any, el: HTMLElement}} */ { model, el }) {
      const card = new Card(el, (/** @type {any} */ order) => model.send(order));
      cards.add(card);
      card.update(model.get("state"));
      card.curve(series);
      card.log(lines);
      return () => {
        cards.delete(card);
        card.dispose();
      };
    },
  };
};
