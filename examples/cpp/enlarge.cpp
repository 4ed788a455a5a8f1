// Enlarges a PGM or PPM image of 8 or 16 bits with a .tflite file of `python -m tfmisr.export`:
//
//     enlarge MODEL.tflite in.pgm out.pgm
//
// Beside the two images it takes the memory of one tile. Not shown here, and done by `tfmisr.edge`: the card's
// weights_sha256 is not compared with the file, and DICOM is not read.

#include <cstdio>
#include <fstream>
#include <iostream>

#include "network.h"

struct Picture {
    Image image;
    int full;  // the value of full brightness
};

Picture read_picture(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int width = 0, height = 0, full = 0;
    const auto number = [&](int& value) {  // comments may stand between the numbers
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
    int first, side, kept, end;  // pixels read: side from first; of these kept to end stay
};

// A window's edge is the image's own or lies `overlap` pixels away from what is kept of it.
std::vector<Window> windows(int length, int tile, int overlap) {
    if (overlap < 0) return {{0, length, 0, length}};
    const int side = std::min(length, tile), step = tile - 2 * overlap;
    const int count = std::max((length - 2 * overlap + step - 1) / step, 1);
    std::vector<Window> found;
    for (int i = 0, kept = 0; i < count; ++i) {
        const int first = std::min(i * step, length - side);
        const int end = i == count - 1 ? length : first + side - overlap;
        found.push_back({first, side, kept, end});
        kept = end;
    }
    return found;
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
    for (const Window& rows : windows(lr.height, network.tile, network.overlap))
        for (const Window& columns : windows(lr.width, network.tile, network.overlap)) {
            const Image sr = network.window(part_of(lr, rows.first, columns.first, rows.side, columns.side));
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
    } catch (const std::exception& error) {
        std::cerr << "enlarge: " << error.what() << "\n";
        return 2;
    }
    return 0;
}
