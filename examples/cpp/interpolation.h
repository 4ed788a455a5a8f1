// What tfmisr's runtime computes outside the network in float32: a C++ port of tfmisr/edge/interpolation.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

struct Image {
    int height = 0, width = 0, channels = 0;
    std::vector<float> values;

    Image(int height, int width, int channels)
        : height(height), width(width), channels(channels), values(size_t(height) * width * channels) {}
    float& at(int y, int x, int c) { return values[(size_t(y) * width + x) * channels + c]; }
    float at(int y, int x, int c) const { return values[(size_t(y) * width + x) * channels + c]; }
};

inline Image part_of(const Image& image, int top, int left, int height, int width) {
    Image part(height, width, image.channels);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < image.channels; ++c) part.at(y, x, c) = image.at(top + y, left + x, c);
    return part;
}

inline double cubic(double x) {  // a = -0.5
    x = std::fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

inline double triangle(double x) { return std::max(0.0, 1 - std::fabs(x)); }

// Separable resampling on half-pixel centers; at the border the weights inside the image are normalized to a sum of 1.
inline Image upscale(const Image& image, int scale, double (*filter)(double), double support) {
    const auto along = [&](int length, int i, auto&& add) {
        const double centre = (i + 0.5) / scale;
        const int first = std::max(0, int(centre - support + 0.5)), end = std::min(length, int(centre + support + 0.5));
        double sum = 0;
        for (int j = first; j < end; ++j) sum += filter(j - centre + 0.5);
        for (int j = first; j < end; ++j) add(j, filter(j - centre + 0.5) / sum);
    };
    Image wide(image.height, image.width * scale, image.channels);
    for (int y = 0; y < wide.height; ++y)
        for (int x = 0; x < wide.width; ++x)
            for (int c = 0; c < wide.channels; ++c) {
                double sum = 0;
                along(image.width, x, [&](int j, double weight) { sum += weight * image.at(y, j, c); });
                wide.at(y, x, c) = float(sum);
            }
    Image out(image.height * scale, wide.width, image.channels);
    for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x)
            for (int c = 0; c < out.channels; ++c) {
                double sum = 0;
                along(image.height, y, [&](int j, double weight) { sum += weight * wide.at(j, x, c); });
                out.at(y, x, c) = float(sum);
            }
    return out;
}

inline Image bilinear(const Image& image, int scale) { return upscale(image, scale, triangle, 1); }

// The border is mirrored (symmetric padding: the outermost pixel is repeated).
inline Image bicubic(const Image& image, int scale) {
    const int margin = 2;
    const auto mirrored = [](int i, int length) {
        const int phase = ((i % (2 * length)) + 2 * length) % (2 * length);
        return phase < length ? phase : 2 * length - 1 - phase;
    };
    Image padded(image.height + 2 * margin, image.width + 2 * margin, image.channels);
    for (int y = 0; y < padded.height; ++y)
        for (int x = 0; x < padded.width; ++x)
            for (int c = 0; c < padded.channels; ++c)
                padded.at(y, x, c) = image.at(mirrored(y - margin, image.height), mirrored(x - margin, image.width), c);
    const Image large = upscale(padded, scale, cubic, 2);
    return part_of(large, margin * scale, margin * scale, image.height * scale, image.width * scale);
}

// Low-contrast gating: the weight of an 8-bit network's residual at each pixel, from 0 to 1. It is 0 where the second
// difference of the image is below the quantization step of the network's input.
inline Image gate(const Image& image, float closed, float opened) {
    const auto pixel = [&](int y, int x, int c) {  // linear extrapolation beyond the border
        const auto line = [&](int yy, int xx) { return image.at(yy, xx, c); };
        const int h = image.height, w = image.width;
        const int inside_y = std::clamp(y, 0, h - 1), inside_x = std::clamp(x, 0, w - 1);
        if (std::min(h, w) > 1 && inside_y != y) return 2 * line(inside_y, x) - line(y < 0 ? 1 : h - 2, x);
        if (std::min(h, w) > 1 && inside_x != x) return 2 * line(y, inside_x) - line(y, x < 0 ? 1 : w - 2);
        return line(inside_y, inside_x);
    };
    Image bend(image.height, image.width, image.channels);
    for (int y = 0; y < bend.height; ++y)
        for (int x = 0; x < bend.width; ++x)
            for (int c = 0; c < bend.channels; ++c)
                bend.at(y, x, c) =
                    std::max(std::fabs(pixel(y - 1, x, c) + pixel(y + 1, x, c) - 2 * image.at(y, x, c)),
                             std::fabs(pixel(y, x - 1, c) + pixel(y, x + 1, c) - 2 * image.at(y, x, c)));
    const auto neighbours = [](const Image& from, bool largest) {
        Image out = from;
        for (int y = 0; y < from.height; ++y)
            for (int x = 0; x < from.width; ++x)
                for (int c = 0; c < from.channels; ++c)
                    for (int yy = std::max(0, y - 1); yy <= std::min(from.height - 1, y + 1); ++yy)
                        for (int xx = std::max(0, x - 1); xx <= std::min(from.width - 1, x + 1); ++xx) {
                            float& chosen = out.at(y, x, c);
                            const float other = from.at(yy, xx, c);
                            chosen = largest ? std::max(chosen, other) : std::min(chosen, other);
                        }
        return out;
    };
    for (int i = 0; i < 3; ++i) bend = neighbours(bend, true);
    bend = neighbours(bend, false);
    for (float& value : bend.values) value = std::clamp((value - closed) / (opened - closed), 0.0f, 1.0f);
    return bend;
}
