"""Architectures that keras.applications lacks, in Keras: small versions of published designs."""

from __future__ import annotations

from typing import Any

CLASSES = 1000


def _conv(x: Any, filters: int, kernel: int = 1, stride: int = 1, **options: Any) -> Any:
    """Convolution, batch norm, ReLU."""
    from keras import layers

    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _classifier(image: Any, x: Any) -> Any:
    import keras

    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(CLASSES, activation="softmax")(x))


def squeezenet(size: int) -> Any:
    """Fire modules (Iandola et al. 2016, arXiv:1602.07360, version 1.1)."""
    import keras
    from keras import layers

    def relu(x: Any, filters: int, kernel: int = 1, stride: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, stride, "same", activation="relu")(x)

    image = keras.Input((size, size, 3))
    x = layers.MaxPooling2D(3, 2)(relu(image, 64, 3, 2))
    for squeeze, pool in ((16, False), (16, True), (32, False), (32, True), (48, False)):
        narrow = relu(x, squeeze)
        x = layers.Concatenate()([relu(narrow, 4 * squeeze), relu(narrow, 4 * squeeze, 3)])
        x = layers.MaxPooling2D(3, 2)(x) if pool else x
    for squeeze in (48, 64, 64):
        narrow = relu(x, squeeze)
        x = layers.Concatenate()([relu(narrow, 4 * squeeze), relu(narrow, 4 * squeeze, 3)])
    x = layers.GlobalAveragePooling2D()(relu(x, CLASSES))
    return keras.Model(image, layers.Softmax()(x))


def shufflenet(size: int) -> Any:
    """Grouped convolutions and shuffled channels (Zhang et al. 2017, arXiv:1707.01083)."""
    import keras
    from keras import layers

    def unit(x: Any, filters: int, groups: int, stride: int) -> Any:
        out = filters - x.shape[3] if stride == 2 else filters
        y = _conv(x, filters // 4, groups=groups)
        _, height, width, channels = y.shape
        y = layers.Reshape((height, width, groups, channels // groups))(y)
        y = layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(y))
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, stride, "same")(y))
        y = layers.BatchNormalization()(layers.Conv2D(out, 1, groups=groups)(y))
        if stride == 2:
            x = layers.AveragePooling2D(3, 2, "same")(x)
            return layers.ReLU()(layers.Concatenate()([x, y]))
        return layers.ReLU()(layers.Add()([x, y]))

    image = keras.Input((size, size, 3))
    x = layers.MaxPooling2D(3, 2, "same")(_conv(image, 24, 3, 2))
    for filters, repeats in ((240, 4), (480, 8), (960, 4)):
        for index in range(repeats):
            x = unit(x, filters, 3, 2 if index == 0 else 1)
    return _classifier(image, x)


def ghostnet(size: int) -> Any:
    """Half of the channels by cheap depthwise maps (Han et al. 2019, arXiv:1911.11907)."""
    import keras
    from keras import layers

    def ghost(x: Any, filters: int, activate: bool) -> Any:
        primary = layers.BatchNormalization()(layers.Conv2D(filters // 2, 1, use_bias=False)(x))
        primary = layers.ReLU()(primary) if activate else primary
        cheap = layers.BatchNormalization()(layers.DepthwiseConv2D(3, 1, "same")(primary))
        cheap = layers.ReLU()(cheap) if activate else cheap
        return layers.Concatenate()([primary, cheap])

    def bottleneck(x: Any, inner: int, filters: int, kernel: int, stride: int) -> Any:
        y = ghost(x, inner, True)
        if stride == 2:
            y = layers.BatchNormalization()(layers.DepthwiseConv2D(kernel, 2, "same")(y))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(inner // 4, 1, activation="relu")(gate)
        y = layers.Multiply()([y, layers.Conv2D(inner, 1, activation="sigmoid")(gate)])
        y = ghost(y, filters, False)
        return layers.Add()([x, y]) if y.shape == x.shape else y

    image = keras.Input((size, size, 3))
    x = _conv(image, 16, 3, 2)
    stages = (
        *((16, 16, 3, 1), (48, 24, 3, 2), (72, 24, 3, 1), (72, 40, 5, 2), (120, 40, 5, 1)),
        *((240, 80, 3, 2), (200, 80, 3, 1), (184, 80, 3, 1), (480, 112, 3, 1), (672, 112, 3, 1)),
        *((672, 160, 5, 2), (960, 160, 5, 1), (960, 160, 5, 1)),
    )
    for inner, filters, kernel, stride in stages:
        x = bottleneck(x, inner, filters, kernel, stride)
    return _classifier(image, _conv(x, 960))


def regnet(size: int) -> Any:
    """Bottlenecks of grouped convolutions (Radosavovic et al. 2020, arXiv:2003.13678, X 400MF)."""
    import keras
    from keras import layers

    def block(x: Any, filters: int, stride: int) -> Any:
        y = _conv(_conv(x, filters), filters, 3, stride, groups=filters // 16)
        y = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(y))
        if x.shape != y.shape:
            x = layers.Conv2D(filters, 1, stride, use_bias=False)(x)
            x = layers.BatchNormalization()(x)
        return layers.ReLU()(layers.Add()([x, y]))

    image = keras.Input((size, size, 3))
    x = _conv(image, 32, 3, 2)
    for filters, repeats in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for index in range(repeats):
            x = block(x, filters, 2 if index == 0 else 1)
    return _classifier(image, x)


def unet(size: int) -> Any:
    """Down and up again with skips (Ronneberger et al. 2015, arXiv:1505.04597), bilinear."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3))
    x = image
    skips = []
    for filters in (16, 32, 64, 128):
        x = _conv(_conv(x, filters, 3), filters, 3)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _conv(_conv(x, 256, 3), 256, 3)
    for filters, skip in zip((128, 64, 32, 16), reversed(skips), strict=True):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = layers.Concatenate()([_conv(x, filters), skip])
        x = _conv(_conv(x, filters, 3), filters, 3)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def mixer(size: int) -> Any:
    """Products over patches and channels by turns (Tolstikhin et al. 2021, arXiv:2105.01601)."""
    import keras
    from keras import layers

    def perceptron(x: Any, inner: int) -> Any:
        return layers.Dense(x.shape[-1])(layers.Dense(inner, activation="gelu")(x))

    image = keras.Input((size, size, 3))
    x = layers.Conv2D(256, 16, 16)(image)
    x = layers.Reshape((x.shape[1] * x.shape[2], 256))(x)
    for _ in range(8):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Permute((2, 1))(perceptron(y, 128))])
        x = layers.Add()([x, perceptron(layers.LayerNormalization()(x), 1024)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(image, layers.Dense(CLASSES)(x))


def focus(size: int) -> Any:
    """Slices instead of a stem, and stages of half the channels (YOLOX, arXiv:2107.08430)."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3))
    corners = [image[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    x = _conv(layers.Concatenate()(corners), 32, 3)
    for filters, repeats in ((64, 1), (128, 3), (256, 3), (512, 1)):
        x = _conv(x, filters, 3, 2)
        y, rest = x[..., : filters // 2], x[..., filters // 2 :]
        for _ in range(repeats):
            y = layers.Add()([y, _conv(_conv(y, filters // 2), filters // 2, 3)])
        x = _conv(layers.Concatenate()([y, rest]), filters)
    return _classifier(image, x)


HANDMADE = {
    "SqueezeNet": squeezenet,
    "ShuffleNet": shufflenet,
    "GhostNet": ghostnet,
    "RegNetX": regnet,
    "UNet": unet,
    "MLPMixer": mixer,
    "FocusCSP": focus,
}
