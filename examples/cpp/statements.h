// What a model card states about the results: half-widths with a guarantee, and the images that the model is for.
#pragma once

#include <string>

// Returns the text after `"name": ` in JSON, from the place of `"section": ` on; empty if there is none.
inline std::string after(const std::string& json, const std::string& section, const std::string& name) {
    const size_t start = json.find("\"" + section + "\": ");
    if (start == std::string::npos) return "";
    const std::string key = "\"" + name + "\": ";
    const size_t at = json.find(key, start);
    return at == std::string::npos ? "" : json.substr(at + key.size());
}

inline std::string number_of(const std::string& text) { return text.substr(0, text.find_first_of(",\n }")); }

// The fields `uncertainty` and `applicability` of a card, in sentences; fields that it lacks are passed over.
inline std::string statements(const std::string& card) {
    std::string said;
    // The fields of the card's top level are indented by two spaces; an int8 file has another `calibration` there.
    const size_t start = card.find("\n  \"uncertainty\": {");
    const std::string fields = start == std::string::npos ? "" : card.substr(start, card.find("\n  }", start) - start);
    const std::string levels = after(fields, "uncertainty", "levels");
    if (!levels.empty()) {
        const size_t open = levels.find('"'), close = levels.find('"', open + 1);
        const bool usual = levels.find("\"0.1\": {") != std::string::npos;
        const std::string alpha = usual ? "0.1" : levels.substr(open + 1, close - open - 1);
        const std::string multiplier = number_of(after(levels, alpha, "multiplier"));
        const std::string delta = number_of(after(fields, "calibration", "delta"));
        const std::string patients = number_of(after(fields, "calibration", "patients"));
        said += "half-widths, not computed by this example: for a new patient, with probability at least 1 - delta, at "
                "least 1 - alpha of the pixels lie within result +- w (alpha " + alpha + ", delta " + delta +
                ", lambda " + multiplier + ", n " + patients + " patients)\n";
    }
    if (!after(card, "applicability", "declared").empty())
        said += "the card describes the images that the model is for; this example does not check it\n";
    return said;
}
