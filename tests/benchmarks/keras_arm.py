"""The coursework's baselines in Keras, as another process that trains and predicts when told.

`python keras_arm.py DATA.npz THREADS` reads orders, a line of JSON each, and answers in JSON. The
layers, losses, optimizers and the batch of 50 are the coursework's (written from its description);
the patches lie in memory as bytes and are cast when a batch is gathered, as hpkit does it. This
file needs keras and TensorFlow, and nothing of hpkit: see keras.txt.
"""

import json
import os
import sys
import time

os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

BATCH = 50


def unet() -> keras.Model:
    """The shallow U-Net of 59,777 parameters."""
    def conv(x, channels: int, size: int = 3, activation: str | None = "relu"):
        init = "he_normal" if activation else "glorot_uniform"
        return layers.Conv2D(channels, size, padding="same", activation=activation,
                             kernel_initializer=init)(x)

    noisy = layers.Input((32, 32, 1))
    first = conv(noisy, 16)
    low = conv(layers.MaxPooling2D(2)(first), 32)
    up = conv(layers.UpSampling2D(2)(low), 64, 2)
    merged = conv(layers.concatenate([first, up]), 64)
    model = keras.Model(noisy, conv(merged, 1, activation=None))
    model.compile(keras.optimizers.SGD(1e-5, momentum=0.9, nesterov=True), "mean_absolute_error")
    return model


def l2net() -> keras.Model:
    """The descriptor of 1,336,928 parameters, running statistics included."""
    steps = [layers.Input((32, 32, 1))]
    for channels, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        steps += [layers.Conv2D(channels, 3, strides=stride, padding="same",
                                kernel_initializer="he_normal"),
                  layers.BatchNormalization(), layers.Activation("relu")]
    steps += [layers.Dropout(0.3), layers.Conv2D(128, 8, kernel_initializer="he_normal"),
              layers.Reshape((128,))]
    return keras.Sequential(steps)


def triplets(descriptor: keras.Model) -> keras.Model:
    """Three patches in, their loss out; trained to be zero."""
    def loss(described):
        anchor, positive, negative = described
        near = ops.mean(ops.square(anchor - positive), -1)
        return ops.maximum(near - ops.mean(ops.square(anchor - negative), -1) + 1, 0)

    three = [layers.Input((32, 32, 1)) for _ in range(3)]
    out = layers.Lambda(loss, output_shape=())([descriptor(patches) for patches in three])
    model = keras.Model(three, out)
    model.compile(keras.optimizers.SGD(0.1), "mean_absolute_error")
    return model


class Batches(keras.utils.PyDataset):
    """Batches of an epoch, gathered when they are asked for."""

    def __init__(self, network: str, noisy: np.ndarray, clean: np.ndarray, samples: int,
                 random: np.random.Generator) -> None:
        super().__init__()
        self.network = network
        self.noisy, self.clean = (p.reshape(-1, 32, 32, 1) for p in (noisy, clean))
        if network == "unet":
            self.drawn = random.permutation(len(self.noisy))[:samples]
        else:
            point, other = random.integers(0, len(noisy), (2, samples))
            other = np.where(other == point, (other + 1) % len(noisy), other)
            anchor, negative = random.integers(0, 16, (2, samples))
            positive = (anchor + random.integers(1, 16, samples)) % 16
            self.drawn = np.stack([16 * point + anchor, 16 * point + positive,
                                   16 * other + negative], 1)

    def __len__(self) -> int:
        return -(-len(self.drawn) // BATCH)

    def __getitem__(self, number: int) -> tuple:
        batch = self.drawn[number * BATCH:(number + 1) * BATCH]
        if self.network == "unet":
            return self.noisy[batch].astype("float32"), self.clean[batch].astype("float32")
        patches = tuple(self.noisy[column].astype("float32") for column in batch.T)
        return patches, np.zeros(len(batch), "float32")


class Arm:
    """The networks that were asked for, one for each seed, and the patches."""

    def __init__(self, data: str) -> None:
        self.data, self.models = dict(np.load(data)), {}

    def model(self, network: str, seed: int) -> tuple[keras.Model, keras.Model]:
        """What is trained, and what predicts."""
        if (network, seed) not in self.models:
            keras.utils.set_random_seed(seed)
            made = unet() if network == "unet" else l2net()
            self.models[network, seed] = (made if network == "unet" else triplets(made)), made
        return self.models[network, seed]

    def epoch(self, network: str, seed: int, number: int, samples: int, validation: int) -> dict:
        """One epoch; the draw of the validation samples is always the same."""
        model, sides = self.model(network, seed)[0], {}
        for side, count, chance in (("train", samples, [seed, number]), ("val", validation, [0])):
            random = np.random.default_rng(chance)
            sides[side] = Batches(network, self.data[f"{side}_noisy"], self.data[f"{side}_clean"],
                                  count, random)
        started = time.perf_counter()
        loss = model.fit(sides["train"], epochs=1, shuffle=False, verbose=0).history["loss"][0]
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "loss": loss,
                "val_loss": model.evaluate(sides["val"], verbose=0)}

    def predict(self, network: str, patches: int, batch: int) -> dict:
        """The coursework's loop: `predict` for one batch of patches after the other."""
        model = self.model(network, 0)[1]
        flat = self.data["train_noisy"].reshape(-1, 32, 32, 1)[:patches]
        started = time.perf_counter()
        for start in range(0, len(flat), batch):
            model.predict(flat[start:start + batch].astype("float32"), verbose=0)
        return {"seconds": time.perf_counter() - started}


def main() -> None:
    data, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    arm = Arm(data)
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(arm, order.pop("do"))(**order)
        print(json.dumps(answer, default=float), flush=True)


if __name__ == "__main__":
    main()
