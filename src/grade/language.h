// grade/language.h: which language a text is written in.
//
// Owns the answer in the codes of `langdetect` (ISO 639-1; zh-cn and zh-tw), which the published
// checkers of instructions ask. Not here: what is made of it (instructions/).
// Where a script has one language, the script decides; elsewhere CLD2 (Compact Language Detector 2)
// among the languages that langdetect knows. Both are statistics: texts of a few words and texts of
// two languages may be judged otherwise (docs/graders-instructions.md has the measurement).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dure {

// `text` is valid UTF-8. Empty: no letters to go by.
std::optional<std::string> language_of(std::string_view text);

}  // namespace dure
