"use strict";

// The shipped network, by onnxruntime-web. It runs in a worker, so that the page answers
// while it calculates. Everything comes from runtime.js, as text: a page that is opened
// from a folder (file://) may load scripts, but no other files.

// This function becomes the worker's own script. It sees nothing of the page.
function work() {
  let session, ort;

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes])
      .stream()
      .pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function load({ ort: script, wasm, model }) {
    const code = new Blob([await unpacked(script)], { type: "text/javascript" });
    ort = await import(URL.createObjectURL(code));
    ort.env.wasm.wasmBinary = await unpacked(wasm);
    ort.env.wasm.numThreads = 1; // more need headers that few servers send
    session = await ort.InferenceSession.create(await unpacked(model));
  }

  async function describe(patches) {
    const pixels = Float32Array.from(patches); // grey levels on 0..255, as in the file
    const batch = new ort.Tensor("float32", pixels, [patches.length / 1024, 1, 32, 32]);
    const { descriptors } = await session.run({ patches: batch });
    return descriptors.data.slice();
  }

  // One after the other: a session takes a batch at a time.
  let last = Promise.resolve();
  self.onmessage = ({ data: { id, what, given } }) => {
    const act = { load, describe }[what];
    last = last
      .then(() => act(given))
      .then(
        (found) => self.postMessage({ id, found }),
        (error) => self.postMessage({ id, error: String(error) }),
      );
  };
}

class Network {
  constructor() {
    const script = new Blob([`(${work})()`], { type: "text/javascript" });
    this.worker = new Worker(URL.createObjectURL(script));
    this.waiting = new Map();
    this.number = 0;
    this.worker.onmessage = ({ data: { id, found, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      error === undefined ? resolve(found) : reject(new Error(error));
    };
  }

  ask(what, given) {
    const id = this.number++;
    this.worker.postMessage({ id, what, given });
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  load(runtime) {
    return this.ask("load", runtime);
  }

  // Descriptors, 128 numbers each, of patches of 1,024 bytes each.
  describe(patches) {
    return this.ask("describe", patches);
  }
}

// runtime.js, 8 MB, once the page can be seen.
function fetchRuntime() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "runtime.js";
    script.onload = () => resolve(self.hpkitRuntime);
    script.onerror = () => reject(new Error("runtime.js is not beside this page"));
    document.head.append(script);
  });
}
