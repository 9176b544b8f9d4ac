"use strict";

// Patches as the package cuts them (hpkit.matching.keypoints.keypoint_patches), for one
// size of region, upright: 65 x 65 pixels of the photo become a patch of 32 x 32.

const REGION = 65;
const SIDE = 32;
const PIXELS = SIDE * SIDE;

// The grey of Pillow's convert("L"). rgba: of a canvas.
function toGrey(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < grey.length; i++) {
    const [r, g, b] = rgba.subarray(4 * i, 4 * i + 3);
    grey[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
  }
  return grey;
}

// Beyond its border the photo is mirrored, and the outermost pixel is not repeated.
function mirrored(i, size) {
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

// For each pixel of a patch's row: which pixels of the region it is the mean of.
const SHARES = Array.from({ length: SIDE }, (_, to) => {
  const [low, high] = [(to * REGION) / SIDE, ((to + 1) * REGION) / SIDE];
  const shares = [];
  for (let from = Math.floor(low); from < Math.min(high, REGION); from++) {
    const covered = Math.min(high, from + 1) - Math.max(low, from);
    shares.push([from, (covered * SIDE) / REGION]);
  }
  return shares;
});

const narrow = new Float32Array(REGION * SIDE); // a region with its rows shrunk

// Write the patch around (x, y), whole numbers, into `patch` (1,024 bytes).
function cutPatch(photo, x, y, patch) {
  const { grey, width, height } = photo;
  const half = (REGION - 1) / 2;
  for (let row = 0; row < REGION; row++) {
    const start = mirrored(y - half + row, height) * width;
    for (let to = 0; to < SIDE; to++) {
      let sum = 0;
      for (const [from, share] of SHARES[to])
        sum += share * grey[start + mirrored(x - half + from, width)];
      narrow[row * SIDE + to] = sum;
    }
  }
  for (let to = 0; to < SIDE; to++) {
    for (let column = 0; column < SIDE; column++) {
      let sum = 0;
      for (const [from, share] of SHARES[to])
        sum += share * narrow[from * SIDE + column];
      patch[to * SIDE + column] = Math.round(sum);
    }
  }
}

// Patches around points [[x, y], ...], one after the other.
function cutPatches(photo, points) {
  const patches = new Uint8Array(points.length * PIXELS);
  points.forEach(([x, y], i) =>
    cutPatch(photo, x, y, patches.subarray(i * PIXELS, (i + 1) * PIXELS)),
  );
  return patches;
}

// The pixels themselves as a descriptor: mean 0 and length 1 (baselines.raw_pixels).
function rawPixels(patches) {
  const found = new Float32Array(patches.length);
  for (let start = 0; start < patches.length; start += PIXELS) {
    const patch = patches.subarray(start, start + PIXELS);
    const mean = patch.reduce((sum, pixel) => sum + pixel, 0) / PIXELS;
    const length = Math.sqrt(
      patch.reduce((sum, pixel) => sum + (pixel - mean) ** 2, 0),
    );
    patch.forEach((pixel, i) => {
      found[start + i] = (pixel - mean) / Math.max(length, 1e-7);
    });
  }
  return found;
}

// Distances of one descriptor to `number` others of its length: 0 (the same) to 2.
function distancesTo(query, others, number) {
  const size = query.length;
  const found = new Float32Array(number);
  for (let i = 0; i < number; i++) {
    let dot = 0;
    for (let j = 0, at = i * size; j < size; j++, at++) dot += query[j] * others[at];
    found[i] = Math.sqrt(Math.max(0, 2 - 2 * dot));
  }
  return found;
}
