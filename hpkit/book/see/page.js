"use strict";

const LONGEST = 480; // pixels of the longer side of a photo, as the network sees it
const STEP = 8; // pixels between the places that are looked at in the second photo
const COARSEST = 4 * STEP; // ... at first; then half of it, and half of that
const BATCH = 32; // patches at a time
const NEAR = 32; // pixels: another place begins there
const RIGHT = 10; // pixels from the true place
const SURE = 0.8; // Lowe's ratio of the best distance and the next best
const LIKELY = 0.9; // ... and the one of hpkit.matching
const PAUSE = 120; // milliseconds at a point before it is looked at closely
const REDRAW = 400; // ... and between two looks at a grid that is still growing
const BLUE = "#56b4e9";
const AMBER = "#ffb000";

const $ = (id) => document.getElementById(id);
const network = new Network();
const photos = { first: null, second: null };
let truth = null; // the homography between photos of which it is known, as nine numbers
let grid = null; // the places in the second photo, and their descriptors
let point = null; // what the reader points at
let answer = null; // best and next best place, distances of the grid
let ready = false; // the network is loaded
let turn = 0; // of questions: a late answer to an older one is dropped

// --- photos ---------------------------------------------------------------------------

// image: anything that a canvas can draw. Gives what is shown and what is looked at.
function photoOf(image) {
  const shrink = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((n) =>
    Math.round(n * shrink),
  );
  if (Math.min(width, height) < REGION)
    throw new Error(
      `it has ${image.width} × ${image.height} pixels, which is too small`,
    );
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const grey = toGrey(context.getImageData(0, 0, width, height).data);
  return { image, dim: dimmed(image), width, height, grey };
}

// In dark greys, to lie behind a heat map.
function dimmed(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, image.width, image.height);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "rgb(0 0 0 / 0.45)";
  context.fillRect(0, 0, image.width, image.height);
  return canvas;
}

async function showPair(pair) {
  const sides = [pair.first, pair.second].map(async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    return photoOf(image);
  });
  const [first, second] = await Promise.all(sides);
  Object.assign(photos, { first, second });
  truth = pair.homography;
  point = pair.point.map((share, i) =>
    Math.round(share * [first.width, first.height][i]),
  );
  $("credits").innerHTML = `${pair.credit} Runs on ONNX Runtime Web (MIT licence).`;
  startGrid();
}

async function showFile(side, file) {
  if (!file) return;
  try {
    photos[side] = photoOf(await createImageBitmap(file));
  } catch (error) {
    $("said").textContent = `${file.name} cannot be shown: ${error.message}.`;
    return;
  }
  truth = null;
  for (const choice of document.querySelectorAll("#pairs input"))
    choice.checked = false;
  if (side === "first") {
    point = [photos.first.width >> 1, photos.first.height >> 1];
    ask();
  } else startGrid();
}

// --- the second photo, looked at once ---------------------------------------------------

// Places on a grid, the coarse ones first: so there is an answer early, which sharpens.
function startGrid() {
  const { width, height } = photos.second;
  const columns = Math.ceil(width / STEP);
  const rows = Math.ceil(height / STEP);
  const cells = Array.from({ length: columns * rows }, (_, i) => [
    i % columns,
    Math.floor(i / columns),
  ]);
  const level = ([c, r]) =>
    [COARSEST, COARSEST / 2, STEP].find(
      (s) => (c * STEP) % s === 0 && (r * STEP) % s === 0,
    );
  cells.sort((a, b) => level(b) - level(a)); // a stable sort: rows stay in order
  grid = {
    columns,
    rows,
    cells,
    points: cells.map(([c, r]) => [
      Math.min(c * STEP + STEP / 2, width - 1),
      Math.min(r * STEP + STEP / 2, height - 1),
    ]),
    network: new Float32Array(cells.length * 128),
    raw: null,
    known: 0,
  };
  ask();
  if (ready) describeGrid(grid);
}

async function describeGrid(mine) {
  const started = performance.now();
  let drawn = started;
  for (let start = 0; start < mine.points.length; start += BATCH) {
    const points = mine.points.slice(start, start + BATCH);
    const found = await network.describe(cutPatches(photos.second, points));
    if (mine !== grid) return; // another photo took its place
    mine.network.set(found, start * 128);
    mine.known = start + points.length;
    report("Looking at the second photo", mine.known, mine.points.length);
    const now = performance.now();
    if (method() === "network" && now - drawn > REDRAW) {
      draft();
      drawn = now;
    }
  }
  const seconds = Math.max(1, Math.round((performance.now() - started) / 1000));
  const places = mine.known.toLocaleString("en-GB");
  report(`Described ${places} places in the second photo, once, in ${seconds} s`, 1, 1);
  if (method() === "network") ask();
}

function report(doing, done, all) {
  const [some, every] = [done, all].map((number) => number.toLocaleString("en-GB"));
  $("doing").textContent = all > 1 ? `${doing}: ${some} of ${every} places` : doing;
  $("progress").value = done / all;
  $("working").classList.toggle("done", done === all);
}

// --- a question and its answer ----------------------------------------------------------

function method() {
  return document.querySelector("[name=method]:checked").value;
}

function describe(patches) {
  return method() === "raw" ? rawPixels(patches) : network.describe(patches);
}

// How many places of the grid are described for this method, and by what.
function described() {
  if (method() === "network") return [grid.network, grid.known];
  grid.raw ??= rawPixels(cutPatches(photos.second, grid.points));
  return [grid.raw, grid.points.length];
}

let query = null; // the descriptor of the point, of the latest question

async function ask() {
  const mine = ++turn;
  answer = query = null;
  delete document.body.dataset.answered;
  draw();
  if (method() === "network" && !ready) return;
  const started = performance.now();
  const found = await describe(cutPatches(photos.first, [point]));
  if (mine !== turn) return;
  query = found;
  draft();
  const [, known] = described();
  if (known < grid.points.length) return; // describeGrid asks again when it is through
  await new Promise((done) => setTimeout(done, PAUSE));
  if (mine !== turn) return;
  const places = [];
  for (const at of [answer.best, answer.next]) {
    places.push(await refined(at));
    if (mine !== turn) return;
  }
  places.sort((a, b) => a.distance - b.distance);
  Object.assign(answer, { best: places[0].point, next: places[1].point });
  draw();
  say(places[0].distance, places[1].distance);
  document.body.dataset.answered = (performance.now() - started).toFixed(0);
}

// The answer as far as the grid is known: a heat map, the best place and the next best.
function draft() {
  const [descriptors, known] = described();
  if (!query || !known) return;
  const distances = distancesTo(query, descriptors, known);
  const best = nearest(distances, () => true);
  const far = ([x, y]) =>
    Math.hypot(x - grid.points[best][0], y - grid.points[best][1]) > NEAR;
  const next = nearest(distances, (i) => far(grid.points[i]));
  answer = { distances, best: grid.points[best], next: grid.points[next] };
  draw();
}

function nearest(distances, allowed) {
  let best = -1;
  distances.forEach((distance, i) => {
    if (allowed(i) && (best < 0 || distance < distances[best])) best = i;
  });
  return Math.max(best, 0);
}

// The best of nine places, three pixels apart, around one of the grid.
async function refined([x, y]) {
  const { width, height } = photos.second;
  const around = [-3, 0, 3];
  const points = around
    .flatMap((dy) => around.map((dx) => [x + dx, y + dy]))
    .filter(([u, v]) => u >= 0 && v >= 0 && u < width && v < height);
  const distances = distancesTo(
    query,
    await describe(cutPatches(photos.second, points)),
    points.length,
  );
  const best = nearest(distances, () => true);
  return { point: points[best], distance: distances[best] };
}

function say(best, next) {
  const middle = answer.distances.slice().sort()[answer.distances.length >> 1];
  const who = method() === "raw" ? "raw pixels" : "the network";
  const are = method() === "raw" ? "are" : "is";
  const sure =
    best < SURE * next ? "sure" : best < LIKELY * next ? "fairly sure" : "not sure";
  const parts = [
    `The most similar place is at distance ${best.toFixed(2)}, and the next one,`,
    `elsewhere, at ${next.toFixed(2)}: so ${who} ${are} ${sure}.`,
    `Half of the photo is farther away than ${middle.toFixed(2)}.`,
  ];
  $("distance").textContent = best.toFixed(2);
  const right = document.createElement("strong");
  right.textContent = verdict();
  $("said").replaceChildren(right, ` ${parts.join(" ")}`);
}

// Right or wrong, where the truth is known; else nothing.
function verdict() {
  const there = truePlace();
  if (!there) return "";
  const { width, height } = photos.second;
  if (there[0] < 0 || there[1] < 0 || there[0] >= width || there[1] >= height)
    return "Wrong: the second photo does not show this point.";
  const off = Math.hypot(answer.best[0] - there[0], answer.best[1] - there[1]).toFixed(
    0,
  );
  const pixels = `${off} pixel${off === "1" ? "" : "s"}`;
  return off <= RIGHT
    ? `Right, to within ${pixels}.`
    : `Wrong: the white cross, ${pixels} away, is the true place.`;
}

// Where the point really is in the second photo, if that is known.
function truePlace() {
  if (!truth) return null;
  const { first, second } = photos;
  const [x, y] = [point[0] / first.width, point[1] / first.height];
  const [u, v, w] = [0, 3, 6].map(
    (i) => truth[i] * x + truth[i + 1] * y + truth[i + 2],
  );
  return [(u / w) * second.width, (v / w) * second.height];
}

// --- drawing ----------------------------------------------------------------------------

function draw() {
  drawFirst();
  drawSecond();
  drawPatch($("here"), photos.first, point);
  drawPatch($("there"), photos.second, answer?.best);
  if (!answer) $("distance").textContent = "–";
}

// The photo on its canvas, whose unit is then a pixel as the network sees it.
function begin(canvas, photo) {
  const sharp = Math.min(2, Math.max(1, photo.image.width / photo.width) * 1.5);
  canvas.width = photo.width * sharp;
  canvas.height = photo.height * sharp;
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.imageSmoothingQuality = "high";
  return context;
}

function drawFirst() {
  const context = begin($("first"), photos.first);
  context.drawImage(photos.first.image, 0, 0, photos.first.width, photos.first.height);
  region(context, point, BLUE, 3);
}

function drawSecond() {
  const { image, dim, width, height } = photos.second;
  const context = begin($("second"), photos.second);
  context.drawImage(answer ? dim : image, 0, 0, width, height);
  if (!answer) return;
  drawHeat(context);
  region(context, answer.next, AMBER, 1.5, [5, 5]);
  region(context, answer.best, AMBER, 3);
  const there = truePlace();
  if (there) cross(context, there);
}

// From nothing, for places like most others, to bright yellow for the best one.
function drawHeat(context) {
  const { columns, rows, cells } = grid;
  const { distances } = answer;
  const sorted = distances.slice().sort();
  const [best, middle] = [sorted[0], sorted[sorted.length >> 1]];
  const warmth = new Float32Array(columns * rows).fill(-1);
  distances.forEach((distance, i) => {
    warmth[cells[i][1] * columns + cells[i][0]] = Math.max(
      0,
      (middle - distance) / (middle - best || 1),
    );
  });
  const small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < columns * rows; i++) {
    const heat = warmthAt(warmth, i % columns, Math.floor(i / columns)) ** 1.5;
    pixels.data.set(
      [
        255,
        255 * Math.min(1, 0.25 + 0.8 * heat),
        180 * Math.max(0, heat - 0.5),
        235 * Math.min(1, 1.25 * heat),
      ],
      4 * i,
    );
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(small, 0, 0, columns * STEP, rows * STEP);
}

// Of a place that is not known yet: that of the nearest coarser one.
function warmthAt(warmth, column, row) {
  for (let step = 1; step <= COARSEST / STEP; step *= 2) {
    const found =
      warmth[(row - (row % step)) * grid.columns + column - (column % step)];
    if (found >= 0) return found;
  }
  return 0;
}

// What is cut out around a point, black around its colour so that it shows on anything.
function region(context, [x, y], colour, width, dashes = []) {
  const half = REGION / 2;
  context.setLineDash(dashes);
  for (const [stroke, style] of [
    [width + 2, "rgb(0 0 0 / 0.6)"],
    [width, colour],
  ]) {
    context.lineWidth = stroke;
    context.strokeStyle = style;
    context.strokeRect(x + 0.5 - half, y + 0.5 - half, REGION, REGION);
  }
  context.setLineDash([]);
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x + 0.5, y + 0.5, width + 0.5, 0, 7);
  context.fill();
}

function cross(context, [x, y]) {
  for (const [stroke, style] of [
    [5, "rgb(0 0 0 / 0.7)"],
    [2, "#fff"],
  ]) {
    context.lineWidth = stroke;
    context.strokeStyle = style;
    context.beginPath();
    for (const [dx, dy] of [
      [7, 0],
      [0, 7],
    ]) {
      context.moveTo(x - dx, y - dy);
      context.lineTo(x + dx, y + dy);
    }
    context.stroke();
  }
}

function drawPatch(canvas, photo, at) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, SIDE, SIDE);
  if (!at) return;
  const patch = cutPatches(photo, [at]);
  const pixels = new ImageData(SIDE, SIDE);
  patch.forEach((grey, i) => pixels.data.set([grey, grey, grey, 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}

// --- what the reader does ---------------------------------------------------------------

function moveTo(x, y) {
  const { width, height } = photos.first;
  point = [
    Math.max(0, Math.min(width - 1, Math.round(x))),
    Math.max(0, Math.min(height - 1, Math.round(y))),
  ];
  ask();
}

function pointAt(event) {
  const box = $("first").getBoundingClientRect();
  const scale = photos.first.width / box.width;
  moveTo((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
}

function listen() {
  const canvas = $("first");
  canvas.addEventListener("click", pointAt);
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && event.buttons === 1) pointAt(event);
  });
  canvas.addEventListener("keydown", (event) => {
    const way = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    }[event.key];
    if (!way) return;
    event.preventDefault(); // the page stays where it is
    const step = event.shiftKey ? 24 : 4;
    moveTo(point[0] + step * way[0], point[1] + step * way[1]);
  });
  for (const choice of document.querySelectorAll("[name=method]"))
    choice.addEventListener("change", ask);
  for (const side of ["first", "second"]) {
    const input = $(`file-${side}`);
    input.addEventListener("change", () => showFile(side, input.files[0]));
  }
}

function offerPairs() {
  hpkitPhotos.forEach((pair, i) => {
    const label = document.createElement("label");
    label.innerHTML = `<input type="radio" name="pair"${i ? "" : " checked"}><span>${pair.name}</span>`;
    label.firstChild.addEventListener("change", () => showPair(pair));
    $("pairs").append(label);
  });
}

async function main() {
  report("Loading the network (8 MB)", 0, 1);
  try {
    offerPairs();
    await showPair(hpkitPhotos[0]);
    listen();
    await network.load(await fetchRuntime());
  } catch (error) {
    report(`The network cannot run in this browser: ${error.message}`, 0, 1);
    return;
  }
  ready = true;
  document.body.dataset.ready = "yes";
  ask();
  describeGrid(grid);
}

main();
