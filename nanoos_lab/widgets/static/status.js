// @ts-check
/** The statuses of jobs as words and shapes. */

import { drawing } from "./dom.js";

/** @typedef {"pending"|"queued"|"running"|"succeeded"|"failed"|"cancelled"} Status */

export const WORDS = {
  pending: "Pending",
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** Shapes of 16 × 16 that tell the statuses apart without colour. */
export const ICONS = {
  pending: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 1.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9Z",
  queued: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 1.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9ZM7.25 5v3.4l2.3 1.9.95-1.15-1.75-1.45V5Z",
  running: "M4.5 2.6v10.8L13 8Z",
  succeeded: "M6.4 12.6 2 8.2l1.3-1.3 3.1 3.1 6.3-6.3L14 5Z",
  failed: "M4.1 2.8 8 6.7l3.9-3.9 1.3 1.3L9.3 8l3.9 3.9-1.3 1.3L8 9.3l-3.9 3.9-1.3-1.3L6.7 8 2.8 4.1Z",
  cancelled: "M3.5 3.5h9v9h-9Zm1.5 1.5v6h6V5Z",
  warning: "M8 1.8 15 14H1Zm-.75 4.4v4h1.5v-4Zm0 5v1.5h1.5v-1.5Z",
};

/** @param {string} path */
export function icon(path) {
  return drawing("svg", { viewBox: "0 0 16 16", class: "nanoos-icon", "aria-hidden": "true" }, drawing("path", { d: path }));
}
