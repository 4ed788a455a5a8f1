// Runs a .tflite file of `python -m tfmisr.export` with its model card through LiteRT's C API.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "consistency.h"
#include "interpolation.h"
#include "litert.h"
#include "statements.h"

inline void check(LiteRtStatus status, const std::string& what) {
    if (status != 0) throw std::runtime_error(what + " failed, LiteRT's status " + std::to_string(status));
}

template <typename T, void (*destroy)(T)>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, std::integral_constant<decltype(destroy), destroy>>;

class Network {
  public:
    int scale, channels, overlap;  // overlap -1: the receptive field is the whole image
    Consistency consistency;       // of the result with the input
    std::string stated;            // what the card says of the results, in sentences
    int tile, max_tile;            // side of all windows; 0: chosen for each image, bounded by max_tile

    explicit Network(const std::string& path) {
        const LiteRtEnvOption options[] = {
            {kLiteRtEnvOptionTagMinLoggerSeverity, {kLiteRtAnyTypeInt, 3}},  // errors
            {kLiteRtEnvOptionTagAutoRegisterAccelerators, {kLiteRtAnyTypeInt, kLiteRtHwAcceleratorCpu}},
        };
        make(environment_, [&](auto* made) { return LiteRtCreateEnvironment(2, options, made); }, "LiteRT's start");
        make(model_, [&](auto* made) { return LiteRtCreateModelFromFile(environment_.get(), path.c_str(), made); },
             "reading " + path);
        read_card(path);
        LiteRtSignature signature;
        LiteRtTensor in, out;
        check(LiteRtGetModelSignature(model_.get(), 0, &signature), "reading the signature");
        check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &in), "reading the input's description");
        check(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &out), "reading the output's description");
        input_ = described(in);
        output_ = described(out);
        Owned<LiteRtOptions, LiteRtDestroyOptions> chosen;
        make(chosen, LiteRtCreateOptions, "making options");
        check(LiteRtSetOptionsHardwareAccelerators(chosen.get(), kLiteRtHwAcceleratorCpu), "choosing the processor");
        make(compiled_, [&](auto* made) {
            return LiteRtCreateCompiledModel(environment_.get(), model_.get(), chosen.get(), made);
        }, "compiling " + path);
    }

    // Upscales one window; its outermost `overlap` pixels are valid only at the image's own edge.
    Image window(const Image& lr) {
        Image sr = residual(lr);
        if (!adds_bicubic_) return sr;
        if (gated_) {
            const Image trust = bilinear(gate(lr, closed_, opened_), scale);
            for (size_t i = 0; i < sr.values.size(); ++i) sr.values[i] *= trust.values[i];
        }
        const Image smooth = bicubic(lr, scale);
        for (size_t i = 0; i < sr.values.size(); ++i) sr.values[i] += smooth.values[i];
        return sr;
    }

  private:
    struct Tensor {
        LiteRtRankedTensorType type{};
        LiteRtQuantizationPerTensor quantization{1, 0};
    };
    using Buffer = Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer>;

    Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
    Owned<LiteRtModel, LiteRtDestroyModel> model_;
    Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
    Buffer in_, out_;
    Tensor input_, output_;
    bool adds_bicubic_, gated_;
    int fine_scale_ = 1;  // fine scale of a dual-range output's second half of channels; 1: there is none
    float closed_ = 0, opened_ = 1;

    template <typename Owner, typename Create>
    static void make(Owner& owner, Create create, const std::string& what) {
        typename Owner::pointer made = nullptr;
        check(create(&made), what);
        owner.reset(made);
    }

    void read_card(const std::string& path) {
        const void* content;
        size_t size;
        if (LiteRtGetModelMetadata(model_.get(), "tfmisr_card", &content, &size) != 0)
            throw std::runtime_error(path + " has no model card; make it with python -m tfmisr.export");
        const std::string card(static_cast<const char*>(content), size);
        // The fields that the runtime needs are at the card's top level, which export indents by two spaces.
        const auto has = [&](const std::string& name) {
            return card.find("\n  \"" + name + "\": ") != std::string::npos;
        };
        const auto field = [&](const std::string& name) {
            const std::string start = "\n  \"" + name + "\": ";
            const size_t at = card.find(start);
            if (at == std::string::npos) throw std::runtime_error(path + " has a model card without " + name);
            return card.substr(at + start.size());
        };
        const auto number = [&](const std::string& name) { return std::stoi(field(name)); };
        const auto missing = [&](const std::string& name) { return field(name).rfind("null", 0) == 0; };
        if (has("kind")) throw std::runtime_error(path + " is an uncertainty head; give the model beside it");
        stated = statements(card);
        scale = number("scale");
        channels = number("channels");
        overlap = missing("overlap") ? -1 : number("overlap");
        // Earlier cards have no `max_tile`.
        const bool chosen = has("max_tile") && !missing("max_tile");
        max_tile = chosen ? number("max_tile") : 0;
        tile = !missing("tile") ? number("tile") : chosen ? 0 : std::max(256, 4 * overlap);
        adds_bicubic_ = field("skip").rfind("\"bicubic\"", 0) == 0;
        if (number("card_version") > 3) throw std::runtime_error(path + " has a card of a later version than 3");
        // Cards of version 2 have earlier names of fields, those of version 1 have no fine scale.
        const std::string fine = has("fine_scale") ? "fine_scale" : "magnified";
        fine_scale_ = has(fine) ? number(fine) : 1;
        if (number("shuffle") != 1) throw std::runtime_error(path + " is of a flavor (int16x8) not shown here");
        const std::string gating = has("gating_thresholds") ? "gating_thresholds" : "gate";
        gated_ = !missing(gating);
        if (gated_) {
            const std::string limits = field(gating);
            closed_ = std::stof(limits.substr(limits.find('[') + 1));
            opened_ = std::stof(limits.substr(limits.find(',') + 1));
        }
        // Cards of versions 1 and 2 do not have it.
        if (has("consistency") && !missing("consistency")) read_consistency(path, field("consistency"));
    }

    // The fields of `consistency`, a JSON object; only taps and a kernel are lists.
    void read_consistency(const std::string& path, std::string fields) {
        fields = fields.substr(0, fields.find("\n  }"));
        const auto after = [&](const std::string& name) {
            const std::string start = "\n    \"" + name + "\": ";
            const size_t at = fields.find(start);
            if (at == std::string::npos) throw std::runtime_error(path + " has a model card without " + name);
            return fields.substr(at + start.size());
        };
        if (after("operator").rfind("\"bicubic\"", 0) != 0)
            throw std::runtime_error(path + " is consistent by an operator other than bicubic, which is not shown here");
        consistency.iterations = std::stoi(after("iterations"));
        consistency.dead_zone = std::stof(after("dead_zone"));
        consistency.noise = std::stof(after("noise"));
        const std::string list = after("taps");
        const size_t end = list.find(']');
        for (size_t at = list.find('['); at < end; at = list.find(',', at + 1))
            consistency.taps.push_back(std::stod(list.substr(at + 1)));
    }

    static Tensor described(LiteRtTensor tensor) {
        Tensor found;
        check(LiteRtGetRankedTensorType(tensor, &found.type), "reading a tensor's type");
        if (found.type.element_type == kLiteRtElementTypeInt8)
            check(LiteRtGetPerTensorQuantization(tensor, &found.quantization), "reading a tensor's quantization");
        else if (found.type.element_type != kLiteRtElementTypeFloat32)
            throw std::runtime_error("expected input and output of float32 or int8");
        return found;
    }

    Image residual(const Image& lr) {
        if (!in_ || lr.height != input_.type.layout.dimensions[1] || lr.width != input_.type.layout.dimensions[2])
            allocate(lr);
        void* memory;
        check(LiteRtLockTensorBuffer(in_.get(), &memory, kLiteRtTensorBufferLockModeWrite), "writing the input");
        write(lr, memory);
        check(LiteRtUnlockTensorBuffer(in_.get()), "writing the input");
        LiteRtTensorBuffer in = in_.get(), out = out_.get();
        check(LiteRtRunCompiledModel(compiled_.get(), 0, 1, &in, 1, &out), "running the network");
        Image sr(lr.height * scale, lr.width * scale, channels);
        check(LiteRtLockTensorBuffer(out, &memory, kLiteRtTensorBufferLockModeRead), "reading the output");
        read(memory, sr);
        check(LiteRtUnlockTensorBuffer(out), "reading the output");
        return sr;
    }

    void allocate(const Image& lr) {
        const int dimensions[] = {1, lr.height, lr.width, channels};
        check(LiteRtCompiledModelResizeInputTensorNonStrict(compiled_.get(), 0, 0, dimensions, 4),
              "resizing the input");
        std::copy(dimensions, dimensions + 4, input_.type.layout.dimensions);
        check(LiteRtGetCompiledModelOutputTensorLayouts(compiled_.get(), 0, 1, &output_.type.layout, true),
              "resizing the output");
        const int32_t* made = output_.type.layout.dimensions;
        const int depth = fine_scale_ > 1 ? 2 * channels : channels;
        if (made[1] != lr.height * scale || made[2] != lr.width * scale || made[3] != depth)
            throw std::runtime_error("the file makes another size than its card promises; export it again");
        LiteRtTensorBufferRequirements needs;
        const auto create = [&](const Tensor& tensor) {
            return [&](auto* buffer) {
                return LiteRtCreateManagedTensorBufferFromRequirements(environment_.get(), &tensor.type, needs, buffer);
            };
        };
        check(LiteRtGetCompiledModelInputBufferRequirements(compiled_.get(), 0, 0, &needs), "asking for buffers");
        make(in_, create(input_), "making the input's buffer");
        check(LiteRtGetCompiledModelOutputBufferRequirements(compiled_.get(), 0, 0, &needs), "asking for buffers");
        make(out_, create(output_), "making the output's buffer");
    }

    void write(const Image& lr, void* memory) const {
        if (input_.type.element_type == kLiteRtElementTypeFloat32) {
            std::memcpy(memory, lr.values.data(), lr.values.size() * sizeof(float));
            return;
        }
        const auto [step, zero] = input_.quantization;
        for (size_t i = 0; i < lr.values.size(); ++i)
            static_cast<int8_t*>(memory)[i] =
                int8_t(std::clamp(std::nearbyint(lr.values[i] / step) + float(zero), -128.0f, 127.0f));
    }

    void read(const void* memory, Image& sr) const {
        if (output_.type.element_type == kLiteRtElementTypeFloat32) {
            std::memcpy(sr.values.data(), memory, sr.values.size() * sizeof(float));
            return;
        }
        const auto [step, zero] = output_.quantization;
        const float unit = step, middle = float(zero);
        const auto* levels = static_cast<const int8_t*>(memory);
        const auto value = [&](size_t i) { return (float(levels[i]) - middle) * unit; };
        if (fine_scale_ == 1) {
            for (size_t i = 0; i < sr.values.size(); ++i) sr.values[i] = value(i);
            return;
        }
        // The fine half is used unless it is saturated: at -1 and 1, or at the ends of int8.
        const float low = std::max((-128.0f - middle) * unit, -1.0f) + unit;
        const float high = std::min((127.0f - middle) * unit, 1.0f) - unit;
        for (size_t i = 0; i < sr.values.size(); ++i) {
            const size_t coarse = i / channels * 2 * channels + i % channels;
            const float fine = value(coarse + channels);
            sr.values[i] = fine > low && fine < high ? fine / float(fine_scale_) : value(coarse);
        }
    }
};
