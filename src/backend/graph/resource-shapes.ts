/** The shapes of resources' values, by the data of their handles: a handle itself is a scalar. */
export const resourceShapes = new WeakMap<object, readonly number[]>();
