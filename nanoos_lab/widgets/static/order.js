// @ts-check

/**
 * Send an order to the kernel. One that is gone hears nothing, and a page learns of that only a little later.
 * @param {any} model @param {object} order
 */
export function send(model, order) {
  try {
    model.send(order);
  } catch (error) {
    console.debug("nanoos_lab: the kernel is gone", error);
  }
}
