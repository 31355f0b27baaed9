/** Sizes and values for fill: every remainder of a vector, and values that float32 rounds or treats apart. */
export const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 1000];
export const values = [0, -0, 1, 0.1, -1e30, 1e-45, 1e300, Number.NaN, Number.NEGATIVE_INFINITY];
