"""Counts the multiply-adds of a network from its layers."""

import math
import typing

if typing.TYPE_CHECKING:
    import keras


def multiply_adds(network: "keras.Model", height: int, width: int) -> int:
    """Returns the multiply-adds of one image.

    Convolutions, dense layers and the fixed convolutions of interpolations count: each weight of a kernel once for each
    position where it is applied, positions on zero padding included, as devices compute it. Biases, sums, activations,
    normalization, pooling and pixel shuffles do not count. Another layer with multiplications returns their number from
    a method `multiply_adds(*input_shapes)`.

    Args:
        network: Functional `keras.Model` from `(batch, height, width, channels)`.
        height: Height of the low-resolution image in pixels.
        width: Its width in pixels.

    Raises:
        TypeError: A layer with a kernel is none of these and lacks the method.
    """
    import keras

    calls = _calls(network)
    tensors = list({id(t): t for _, inputs, output in calls for t in (*inputs, output)}.values())
    probe = keras.Model(network.input, tensors)
    computed = probe.compute_output_shape((1, height, width, network.input_shape[-1]))
    shapes = {id(tensor): shape for tensor, shape in zip(tensors, computed, strict=True)}
    return sum(_of_layer(layer, [shapes[id(t)] for t in inputs], shapes[id(out)]) for layer, inputs, out in calls)


def _calls(network) -> list[tuple]:
    """Returns (layer, inputs, output) of each call of a layer, from the network's output to its input."""
    seen, waiting, calls = set(), list(network.outputs), []
    while waiting:
        tensor = waiting.pop()
        layer, node = tensor._keras_history[:2]
        if (id(layer), node) in seen:
            continue
        seen.add((id(layer), node))
        inputs = layer._inbound_nodes[node].input_tensors
        calls.append((layer, inputs, tensor))
        waiting += inputs
    return calls


def _of_layer(layer, inputs, output) -> int:
    import keras

    if hasattr(layer, "multiply_adds"):
        return layer.multiply_adds(*inputs)
    if isinstance(layer, keras.Model):
        return multiply_adds(layer, *inputs[0][1:3])
    if isinstance(layer, keras.layers.SeparableConv2D):
        size = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return size * math.prod(output[1:3])
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        return math.prod(layer.kernel.shape) * math.prod(output[1:3])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.kernel.shape) * math.prod(inputs[0][1:3])
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape) * math.prod(output[1:-1])
    if hasattr(layer, "kernel"):
        raise TypeError(
            f"expected a method multiply_adds(*input_shapes) of {type(layer).__name__}, which has a kernel. "
            f"Received: layer {layer.name} without it"
        )
    return 0
