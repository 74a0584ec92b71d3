// @ts-check
/**
 * The structure under a job card: makes a view of a stock nglview model, and moves its atoms.
 *
 * nglview itself loads and moves structures only by way of the kernel's main thread. Here the page builds the
 * component from plain arrays, so it works while a cell computes, shows the newest frame first after a reload, and
 * follows changes of cell and atoms. Frames arrive as messages; the newest one is drawn with the next repaint of the
 * page and then acknowledged, which is the back-pressure.
 */

import { integer } from "./format.js";
import { send } from "./order.js";

/**
 * @typedef {object} Scene
 * @property {number} version     another version has other atoms
 * @property {string[]} symbols
 * @property {"ball+stick"|"spacefill"|"point"} style
 * @property {number|null} step
 * @property {number[]|null} cell  lengths in Å and angles in degrees
 * @property {DataView} positions little-endian float32, Å
 */

/** @typedef {{serial: number, step: number|null, cell: number[]|null, positions: Float32Array}} Frame */

/** @type {Record<Scene["style"], Record<string, unknown>>} */
const STYLES = {
  "ball+stick": { aspectRatio: 2.2 },
  spacefill: { radiusScale: 0.62 },
  point: { pointSize: 1.6, sizeAttenuation: true },
};

/** @param {DataView} data @returns {Float32Array} */
function floats(data) {
  return new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
}

/**
 * Write atoms as PDB, the one format with a unit cell that NGL reads from text. Its three decimals and its overflow
 * past 99 999 atoms do not matter: positions follow in full.
 * @param {Scene} scene @param {Float32Array} positions
 * @returns {string}
 */
function pdb(scene, positions) {
  const number = (/** @type {number} */ value, /** @type {number} */ width, /** @type {number} */ decimals) =>
    value.toFixed(decimals).padStart(width).slice(0, width);
  const lines = [];
  if (scene.cell) {
    const [a, b, c, alpha, beta, gamma] = scene.cell;
    const lengths = [a, b, c].map((value) => number(value, 9, 3)).join("");
    const angles = [alpha, beta, gamma].map((value) => number(value, 7, 2)).join("");
    lines.push(`CRYST1${lengths}${angles} P 1           1`);
  }
  scene.symbols.forEach((symbol, index) => {
    const xyz = [0, 1, 2].map((axis) => number(positions[3 * index + axis], 8, 3)).join("");
    const serial = String((index + 1) % 100000).padStart(5);
    lines.push(`HETATM${serial} ${symbol.padEnd(4).slice(0, 4)} MOL     1    ${xyz}  1.00  0.00          ${symbol.padStart(2)}`);
  });
  return lines.join("\n") + "\nEND\n";
}

/** Follows the theme: one background for light and dark. @param {any} stage @returns {() => void} */
function followTheme(stage) {
  const paint = () => {
    const colour = getComputedStyle(document.body).getPropertyValue("--jp-layout-color0").trim();
    stage.setParameters({ backgroundColor: colour || "white" });
  };
  const observer = new MutationObserver(paint);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  paint();
  return () => observer.disconnect();
}

/**
 * Draw the unit cell in a grey for both themes; NGL has only its orange.
 * @param {any} component
 */
function greyBox(component) {
  const box = component.addRepresentation("unitcell");
  const plain = box.repr.getUnitcellData;
  box.repr.getUnitcellData = (/** @type {any} */ structure) => {
    const data = plain(structure);
    for (const colours of [data.vertex.color, data.edge.color, data.edge.color2]) colours.fill(0.55);
    return data;
  };
  box.update({ color: true });
  return box;
}

/** Turns, in radians about the screen's axes, that let a crystal look like a body and not like a pattern. */
const TILT = { x: -0.25, y: -0.5 };
/** How much farther away than NGL's own choice the camera stands, so that a tilted cell fits. */
const ROOM = 1.2;

/** One view of a structure on the page. */
class Structure {
  /**
   * @param {any} view a displayed NGLView
   * @param {HTMLElement} caption
   * @param {number[]} camera where the camera of this model last stood; empty before it was first aimed
   */
  constructor(view, caption, camera) {
    this.view = view;
    this.caption = caption;
    this.camera = camera;
    this.aimed = false;
    /** @type {HTMLCanvasElement} */
    this.canvas = view.stage.viewer.renderer.domElement;
    this.canvas.setAttribute("role", "img");
    this.canvas.tabIndex = 0;
    /** @type {any} NGL's component, once loaded */
    this.component = null;
    this.version = 0;
    /** @type {any} */
    this.box = null;
  }

  /** Show a scene; other atoms than before need another component. @param {Scene} scene */
  async load(scene) {
    const positions = floats(scene.positions);
    if (this.version === scene.version) return void this.move(positions, scene.cell, scene.step);
    this.version = scene.version;
    this.canvas.setAttribute("aria-label", `Structure of ${integer(scene.symbols.length)} atoms`);
    const blob = new Blob([pdb(scene, positions)], { type: "text/plain" });
    const component = await this.view.stage.loadFile(blob, { ext: "pdb", defaultRepresentation: false });
    if (this.version !== scene.version) return void this.view.stage.removeComponent(component);
    const others = this.component?.structure.atomCount !== component.structure.atomCount;
    if (this.component) this.view.stage.removeComponent(this.component);
    this.component = component;
    component.addRepresentation(scene.style, { colorScheme: "element", ...STYLES[scene.style] });
    this.box = scene.cell && greyBox(component);
    this.move(positions, scene.cell, scene.step);
    if (!this.aimed) this.aim();
    else if (others) this.fit();
  }

  aim() {
    this.aimed = true;
    const { stage } = this.view;
    if (this.camera.length) {
      stage.viewerControls.orient(this.camera);
    } else {
      stage.viewerControls.spin([0, 1, 0], TILT.y);
      stage.viewerControls.spin([1, 0, 0], TILT.x);
      this.fit();
    }
    // nglview keeps the camera by this matrix, which NGL itself sets no sooner than at the next repaint.
    stage.viewer.rotationGroup.updateMatrix();
  }

  /** Stand so far away that all is seen, whichever way the camera looks. */
  fit() {
    const { component } = this;
    this.view.stage.animationControls.zoomMove(component.getCenter(), ROOM * component.getZoom(), 0);
  }

  /**
   * Move the atoms, if they are there by now.
   * @param {Float32Array} positions @param {number[]|null} cell @param {number|null} step
   * @returns {boolean} whether they are
   */
  move(positions, cell, step) {
    const structure = this.component?.structure;
    if (!structure || structure.atomCount * 3 !== positions.length) return false;
    if (cell && structure.unitcell && this.box) {
      const [a, b, c, alpha, beta, gamma] = cell;
      const Unitcell = structure.unitcell.constructor;
      structure.unitcell = new Unitcell({ a, b, c, alpha, beta, gamma, spacegroup: "P 1" });
    }
    structure.updatePosition(positions);
    this.component.updateRepresentations({ position: true });
    this.caption.textContent = step === null ? "" : `step ${integer(step)}`;
    return true;
  }
}

/** Binds a structure on the page to its model: frames in, acknowledgements out. */
class Feed {
  /** @param {any} model @param {Structure} structure */
  constructor(model, structure) {
    this.model = model;
    this.structure = structure;
    /** @type {Frame|null} the newest frame, until it is drawn */
    this.waiting = null;
    this.painting = 0;
    this.take = this.take.bind(this);
    this.load = this.load.bind(this);
    model.on("msg:custom", this.take);
    model.on("change:scene_data", this.load);
  }

  dispose() {
    this.model.off("msg:custom", this.take);
    this.model.off("change:scene_data", this.load);
    cancelAnimationFrame(this.painting);
  }

  /** Show the whole scene; it is newer than the frames before it, and older than those that come while it loads. */
  async load() {
    this.waiting = null;
    await this.structure.load(this.model.get("scene_data"));
    this.draw();
  }

  /** @param {any} message @param {DataView[]} buffers */
  take(message, buffers) {
    if (message.kind !== "frame") return;
    this.waiting = { serial: message.serial, step: message.step, cell: message.cell, positions: floats(buffers[0]) };
    this.painting ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.painting = 0;
    const frame = this.waiting;
    if (!frame) return;
    if (this.structure.move(frame.positions, frame.cell, frame.step)) this.waiting = null;
    send(this.model, { order: "seen", serial: frame.serial });
  }
}

/** Structures that are drawn at the same time on a page: a browser has about a dozen WebGL contexts for all. */
const MOST_DRAWN = 6;
const DRAWN = Symbol.for("nanoos_lab.structures");

/** @returns {Set<Panel>} the panels of all cards of the page that hold a context, the longest unseen first */
function drawn() {
  const page = /** @type {any} */ (window);
  return (page[DRAWN] ??= new Set());
}

/** The place of a structure: built when it is first seen, given up when others need its context more. */
class Panel {
  /** @param {any} model @param {HTMLElement} root */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.page = Math.random().toString(36).slice(2);
    this.seen = false;
    /** @type {Promise<() => void>|null} what undoes the building */
    this.built = null;
    root.classList.add("nanoos-structure");
    root.style.minHeight = `${model.get("height")}px`;
    this.sight = new IntersectionObserver(([entry]) => this.look(entry.isIntersecting));
    this.sight.observe(root);
    this.onTurn = () => this.tell();
    document.addEventListener("visibilitychange", this.onTurn);
  }

  dispose() {
    this.sight.disconnect();
    document.removeEventListener("visibilitychange", this.onTurn);
    this.seen = false;
    this.tell();
    this.rest();
  }

  /** @param {boolean} seen whether a part of the panel is on the screen */
  look(seen) {
    this.seen = seen;
    if (seen) this.wake();
    this.tell();
  }

  /** Say whether somebody sees the structure; without, no frames are made. */
  tell() {
    send(this.model, { order: "watched", page: this.page, watched: this.seen && !document.hidden });
  }

  wake() {
    const others = drawn();
    others.delete(this);
    others.add(this);
    this.built ??= this.build();
    for (const other of others) {
      if (others.size <= MOST_DRAWN) break;
      if (!other.seen) other.rest();
    }
  }

  /** Give the context back. */
  rest() {
    drawn().delete(this);
    this.built?.then((undo) => undo());
    this.built = null;
  }

  async build() {
    const { model, root } = this;
    const stock = await model.widget_manager.get_model(model.get("nglview"));
    const camera = stock.get("_camera_orientation").slice();
    const view = await model.widget_manager.create_view(stock);
    const caption = document.createElement("span");
    caption.className = "nanoos-step";
    root.replaceChildren(view.el, caption);
    view.trigger("displayed");
    await view.displayed;
    view.stage.setParameters({ cameraType: "orthographic", fogNear: 60, fogFar: 130 });
    const forgetTheme = followTheme(view.stage);
    const sizes = new ResizeObserver(([entry]) => view.setSize(`${entry.contentRect.width}px`, `${model.get("height")}px`));
    sizes.observe(root);
    const feed = new Feed(model, new Structure(view, caption, camera));
    await feed.load();
    return () => {
      feed.dispose();
      sizes.disconnect();
      forgetTheme();
      view.stage.dispose();
      view.remove();
      caption.remove();
    };
  }
}

export default {
  render(/** @type {{model: any, el: HTMLElement}} */ { model, el }) {
    const panel = new Panel(model, el);
    return () => panel.dispose();
  },
};
