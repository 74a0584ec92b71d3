// @ts-check
/**
 * The overview of a group fed by an anywidget model, whose `state` is a trait. One feed per model, shared by its views;
 * updates are acknowledged, so that the kernel knows whether somebody takes them.
 */

import { send } from "./order.js";
import { Overview } from "./overview.js";

/** Seconds between two acknowledgements. */
const ACK_PAUSE = 1;

/** What a model has told, and the overviews that show it. */
class Feed {
  /** @param {any} model */
  constructor(model) {
    this.model = model;
    /** @type {Set<Overview>} */
    this.views = new Set();
    this.acknowledging = 0;
    model.on("change:state", () => this.update());
    model.on("comm_live_update", () => this.lose());
    this.acknowledge();
  }

  dispose() {
    window.clearTimeout(this.acknowledging);
  }

  update() {
    for (const view of this.views) view.update(this.model.get("state"));
    this.acknowledge();
  }

  /** The kernel is gone. */
  lose() {
    this.dispose();
    for (const view of this.views) view.lose();
  }

  acknowledge() {
    this.acknowledging ||= window.setTimeout(() => {
      this.acknowledging = 0;
      send(this.model, { order: "seen", serial: this.model.get("state").serial });
    }, 1000 * ACK_PAUSE);
  }
}

export default () => {
  /** @type {Feed} */
  let feed;
  return {
    initialize(/** @type {{model: any}} */ { model }) {
      feed = new Feed(model);
      return () => feed.dispose();
    },
    render(/** @type {{model: any, el: HTMLElement}} */ { model, el }) {
      const view = new Overview(el, (order) => send(model, order));
      feed.views.add(view);
      view.update(model.get("state"));
      return () => {
        feed.views.delete(view);
        view.dispose();
      };
    },
  };
};
