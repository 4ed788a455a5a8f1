// Corrects an upscaled image until its down-sampling gives the input: a C++ port of tfmisr/edge/consistency.py for the
// bicubic operator.
#pragma once

#include "interpolation.h"

// A banded matrix: row i has weights[i] from column first[i] on.
struct Banded {
    std::vector<int> first;
    std::vector<std::vector<float>> weights;

    void add_row(const std::vector<double>& row) {
        size_t start = 0, end = row.size();
        while (start + 1 < end && row[start] == 0) ++start;
        while (end > start + 1 && row[end - 1] == 0) --end;
        first.push_back(int(start));
        weights.emplace_back(row.begin() + start, row.begin() + end);
    }
};

inline int mirrored(int i, int length) {  // symmetric padding: the outermost pixel is repeated
    const int phase = ((i % (2 * length)) + 2 * length) % (2 * length);
    return phase < length ? phase : 2 * length - 1 - phase;
}

// Antialiased bicubic down-sampling along one axis; at the border the weights inside the image are normalized.
inline Banded reduction(int length, int scale) {
    const int count = 4 * scale + scale % 2;
    Banded matrix;
    for (int i = 0; i < length; ++i) {
        std::vector<double> row(size_t(length) * scale);
        double sum = 0;
        for (int k = 0; k < count; ++k) {
            const int j = i * scale - (count - scale) / 2 + k;
            if (j >= 0 && j < length * scale) sum += row[j] = cubic((k - (count - 1) / 2.0) / scale);
        }
        for (double& weight : row) weight /= sum;
        matrix.add_row(row);
    }
    return matrix;
}

// Bicubic interpolation along one axis after the symmetric filter `taps` (the middle weight and those to its right);
// both mirror the border.
inline Banded correction(int length, int scale, const std::vector<double>& taps) {
    const int last = int(taps.size()) - 1;
    Banded matrix;
    for (int j = 0; j < length * scale; ++j) {
        std::vector<double> row(length);
        const double center = (j + 0.5) / scale - 0.5;
        for (int i = int(std::floor(center)) - 1, end = i + 4; i < end; ++i)
            for (int k = -last; k <= last; ++k)
                row[mirrored(mirrored(i, length) + k, length)] += cubic(i - center) * taps[std::abs(k)];
        matrix.add_row(row);
    }
    return matrix;
}

// vertical * image * transposed horizontal, for each channel.
inline Image apply(const Banded& vertical, const Banded& horizontal, const Image& image) {
    const int height = int(vertical.first.size()), width = int(horizontal.first.size()), c = image.channels;
    Image rows(height, image.width, c), out(height, width, c);
    for (int y = 0; y < height; ++y)
        for (size_t k = 0; k < vertical.weights[y].size(); ++k) {
            const float weight = vertical.weights[y][k];
            const float* from = &image.values[size_t(vertical.first[y] + k) * image.width * c];
            float* to = &rows.values[size_t(y) * image.width * c];
            for (int i = 0; i < image.width * c; ++i) to[i] += weight * from[i];
        }
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (size_t k = 0; k < horizontal.weights[x].size(); ++k)
                for (int channel = 0; channel < c; ++channel)
                    out.at(y, x, channel) +=
                        horizontal.weights[x][k] * rows.at(y, horizontal.first[x] + int(k), channel);
    return out;
}

struct Consistency {
    int iterations = 0;  // 0: no correction
    float dead_zone = 0, noise = 0;  // in levels of the input, and as a fraction of the range
    std::vector<double> taps;

    // Low-resolution pixels on each side of one that its correction depends on.
    int radius() const { return iterations * (2 + int(taps.size()) - 1 + 2); }

    // `full` is the pixel value of full brightness.
    void correct(Image& sr, const Image& lr, int scale, int full) const {
        const float threshold = std::max(dead_zone / float(full), noise);
        const Banded down[] = {reduction(lr.height, scale), reduction(lr.width, scale)};
        const Banded up[] = {correction(lr.height, scale, taps), correction(lr.width, scale, taps)};
        for (float& value : sr.values) value = std::clamp(value, 0.0f, 1.0f);
        for (int iteration = 0; iteration < iterations; ++iteration) {
            Image error = apply(down[0], down[1], sr);
            for (size_t i = 0; i < error.values.size(); ++i) {
                const float value = lr.values[i], e = value - error.values[i];
                const bool beyond = (value <= 0 && e > 0) || (value >= 1 && e < 0);
                error.values[i] = beyond ? 0 : e - std::clamp(e, -threshold, threshold);
            }
            const Image added = apply(up[0], up[1], error);
            for (size_t i = 0; i < sr.values.size(); ++i)
                sr.values[i] = std::clamp(sr.values[i] + added.values[i], 0.0f, 1.0f);
        }
    }
};
