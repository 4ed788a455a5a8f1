"""Philox, a counter-based random number generator, in JAX: the numbers of `tf.random.stateless_uniform`.

Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011, https://doi.org/10.1145/2063384.2063405:
Philox4x32-10. Key and counter are made from the two seeds as TensorFlow makes them on CPUs and GPUs, where it uses the
same generator (`tensorflow/core/kernels/stateless_random_ops.cc`), so that a run draws the same images from its pool
under both. All arithmetic is in 32-bit integers: JAX has no others by default.
"""

import jax
import jax.numpy as jnp

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_SEED_KEY = (0x3EC8F720, 0x02461E29)  # TensorFlow's, which makes the key from the seeds


def _high(factor: int, x):
    """Returns the upper half of the 64-bit products of a 32-bit integer and of uint32 numbers."""
    low, high = factor & 0xFFFF, factor >> 16
    x_low, x_high = x & 0xFFFF, x >> 16
    middle = high * x_low + (low * x_low >> 16)
    return high * x_high + (middle >> 16) + (low * x_high + (middle & 0xFFFF) >> 16)


def _philox(counter, key):
    """Returns four uint32 arrays of random bits for four uint32 arrays of a counter, and two of a key."""
    a, b, c, d = counter
    first, second = _MULTIPLIERS
    for i in range(_ROUNDS):
        k, m = (word + jnp.uint32(i * weyl % 2**32) for word, weyl in zip(key, _WEYL, strict=True))
        low = c * jnp.uint32(second), a * jnp.uint32(first)
        a, b, c, d = _high(second, c) ^ b ^ k, low[0], _high(first, a) ^ d ^ m, low[1]
    return a, b, c, d


def uniform(seed: int, step: jax.Array, count: int) -> jax.Array:
    """Returns `count` uniform random numbers in [0, 1), float32, a pure function of the integers `seed` and `step`.

    Args:
        seed: At most 64 bits.
        step: int32 scalar.
        count: How many.
    """
    step = jnp.asarray(step, jnp.int32)
    seeds = [jnp.uint32(seed >> shift & 0xFFFFFFFF) for shift in (0, 32)]
    counter = (*seeds, step.astype("uint32"), (step >> 31).astype("uint32"))
    mixed = _philox(counter, [jnp.uint32(word) for word in _SEED_KEY])
    block = jnp.arange(-(-count // 4), dtype="uint32")
    bits = _philox((block, jnp.zeros_like(block), *mixed[2:]), mixed[:2])
    # 23 bits, as the fraction of a float.
    return (jnp.stack(bits, axis=1).reshape(-1)[:count] & 0x7FFFFF).astype("float32") * jnp.float32(2**-23)
