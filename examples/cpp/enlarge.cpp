// Upscales a PGM or PPM image of 8 or 16 bits with a .tflite file of `python -m tfmisr.export`:
//
//     enlarge MODEL.tflite in.pgm out.pgm
//
// Besides the two images it needs the memory of one tile and of one window of the correction. Unlike `tfmisr.edge` it
// does not compare the card's weights_sha256 with the file, does not read DICOM, and computes no half-widths: it prints
// what the card promises of them.

#include <cstdio>
#include <fstream>
#include <iostream>

#include "network.h"

struct Picture {
    Image image;
    int full;  // pixel value of full brightness
};

Picture read_picture(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int width = 0, height = 0, full = 0;
    const auto number = [&](int& value) {  // comments are allowed between the numbers
        while ((file >> std::ws) && file.peek() == '#') file.ignore(1 << 20, '\n');
        file >> value;
    };
    file >> kind;
    number(width), number(height), number(full);
    file.get();
    if (!file || (kind != "P5" && kind != "P6") || width < 1 || height < 1 || full < 1 || full > 65535 ||
        int64_t(width) * height > (1 << 27))
        throw std::runtime_error("expected a binary PGM or PPM image (P5, P6) at " + path);
    Picture picture{Image(height, width, kind == "P5" ? 1 : 3), full};
    for (float& value : picture.image.values) {
        const int high = full > 255 ? file.get() : 0, low = file.get();
        value = float(std::min(high * 256 + low, full)) / float(full);
    }
    if (!file) throw std::runtime_error(path + " ends too early");
    return picture;
}

void write_picture(const std::string& path, const std::string& content) {
    const std::string temporary = path + ".part";
    std::ofstream file(temporary, std::ios::binary);
    file.write(content.data(), std::streamsize(content.size()));
    file.close();
    if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
        std::remove(temporary.c_str());
        throw std::runtime_error("cannot write " + path);
    }
}

struct Window {
    int first, side, kept, end;  // reads `side` pixels from `first`; those from `kept` to `end` are written
};

// A window ends at the image's edge, or `overlap` pixels beyond what is kept of it; inside the image `tile` pixels are
// kept.
std::vector<Window> windows(int length, int tile, int overlap) {
    const int side = std::min(length, tile + 2 * overlap);
    const int count = std::max((length - 2 * overlap + tile - 1) / tile, 1);
    std::vector<Window> found;
    for (int i = 0, kept = 0; i < count; ++i) {
        const int first = std::min(i * tile, length - side);
        const int end = i == count - 1 ? length : first + side - overlap;
        found.push_back({first, side, kept, end});
        kept = end;
    }
    return found;
}

struct Grid {
    std::vector<Window> rows, columns;
};

// Divides both axes evenly into windows of at most max_tile * max_tile pixels such that the area read is smallest.
Grid fitted(int height, int width, int overlap, int max_tile) {
    const auto even = [&](int length, int count) { return std::max((length - 2 * overlap + count - 1) / count, 1); };
    const auto read = [](const std::vector<Window>& axis) { return int64_t(axis.size()) * axis[0].side; };
    Grid best;
    int64_t least = 0;
    for (int count = 1; count <= height; ++count) {
        std::vector<Window> rows = windows(height, even(height, count), overlap);
        if (least > 0 && read(rows) * width >= least) break;
        const int64_t widest = int64_t(max_tile) * max_tile / rows[0].side;
        if (widest < std::min(width, 2 * overlap + 1)) continue;
        const int inner = int(std::min<int64_t>(widest, width)) - 2 * overlap;
        const int across = widest >= width ? 1 : (width - 2 * overlap + inner - 1) / inner;
        std::vector<Window> columns = windows(width, even(width, across), overlap);
        const int64_t area = read(rows) * read(columns);
        if (least == 0 || area < least) best = {rows, columns}, least = area;
    }
    return best;
}

Grid grid_of(const Network& network, int height, int width) {
    const int overlap = network.overlap, inner = network.tile - 2 * overlap;
    if (overlap < 0) return {windows(height, height, 0), windows(width, width, 0)};
    if (std::max(network.tile, network.max_tile) <= 2 * overlap)
        throw std::runtime_error("the card's tile must be above twice its overlap; export it again");
    if (network.tile == 0) return fitted(height, width, overlap, network.max_tile);
    return {windows(height, inner, overlap), windows(width, inner, overlap)};
}

// The network's windows put together, not corrected.
Image assembled(Network& network, const Image& lr) {
    const int s = network.scale;
    Image sr(lr.height * s, lr.width * s, lr.channels);
    const Grid grid = grid_of(network, lr.height, lr.width);
    for (const Window& rows : grid.rows)
        for (const Window& columns : grid.columns) {
            const Image part = network.window(part_of(lr, rows.first, columns.first, rows.side, columns.side));
            for (int y = rows.kept * s; y < rows.end * s; ++y)
                for (int x = columns.kept * s; x < columns.end * s; ++x)
                    for (int c = 0; c < lr.channels; ++c)
                        sr.at(y, x, c) = part.at(y - rows.first * s, x - columns.first * s, c);
        }
    return sr;
}

// Windows that are corrected at once, 4352 x 4352 values of the result.
Grid correction_grid(const Network& network, int height, int width) {
    const int overlap = network.overlap + network.consistency.radius();
    if (network.overlap < 0) return {windows(height, height, 0), windows(width, width, 0)};
    const int side = int(std::sqrt(double(4352 * 4352 / network.channels))) / network.scale;
    return fitted(height, width, overlap, std::max(side, 4 * overlap));
}

std::string enlarged(Network& network, const Picture& picture) {
    const Image& lr = picture.image;
    const int s = network.scale, bytes = picture.full > 255 ? 2 : 1;
    if (lr.channels != network.channels)
        throw std::runtime_error("expected an image of " + std::to_string(network.channels) + " channel(s), found " +
                                 std::to_string(lr.channels));
    std::string content = (lr.channels == 1 ? "P5\n" : "P6\n") + std::to_string(lr.width * s) + " " +
                          std::to_string(lr.height * s) + "\n" + std::to_string(picture.full) + "\n";
    const size_t head = content.size();
    content.resize(head + size_t(lr.height) * lr.width * s * s * lr.channels * bytes);
    const bool corrected = network.consistency.iterations > 0;
    const Grid grid =
        corrected ? correction_grid(network, lr.height, lr.width) : grid_of(network, lr.height, lr.width);
    for (const Window& rows : grid.rows)
        for (const Window& columns : grid.columns) {
            const Image part = part_of(lr, rows.first, columns.first, rows.side, columns.side);
            Image sr = corrected ? assembled(network, part) : network.window(part);
            if (corrected) network.consistency.correct(sr, part, s, picture.full);
            for (int y = rows.kept * s; y < rows.end * s; ++y)
                for (int x = columns.kept * s; x < columns.end * s; ++x)
                    for (int c = 0; c < lr.channels; ++c) {
                        const float value = sr.at(y - rows.first * s, x - columns.first * s, c);
                        const int level = int(std::nearbyint(std::clamp(value, 0.0f, 1.0f) * float(picture.full)));
                        char* pixel = &content[head + ((size_t(y) * lr.width * s + x) * lr.channels + c) * bytes];
                        if (bytes == 2) *pixel++ = char(level >> 8);
                        *pixel = char(level & 255);
                    }
        }
    return content;
}

int main(int count, char** arguments) {
    if (count != 4) {
        std::cerr << "usage: enlarge MODEL.tflite in.pgm out.pgm\n";
        return 2;
    }
    try {
        const Picture picture = read_picture(arguments[2]);
        Network network(arguments[1]);
        write_picture(arguments[3], enlarged(network, picture));
        std::cout << network.stated;
    } catch (const std::exception& error) {
        std::cerr << "enlarge: " << error.what() << "\n";
        return 2;
    }
    return 0;
}
