// grade/code_text.h: the code in an answer, and whether what a program printed is what was
// expected.
//
// Owns reading fenced blocks and stop strings, and the two comparisons. Not here: running programs
// (code_runner.h), the grader (code.h).
//
// Sources: stop strings of a continued function, Chen et al. 2021 (Codex, 2107.03374) section 3.2;
// comparison of lines and of returned values, LiveCodeBench's checker (testing_util.py, commit
// 15808c76).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace dure {

// The last fenced block that calls itself Python; else the last of any kind; nothing where there is
// none. A block that the answer's end cuts off counts.
std::optional<std::string> last_code_block(std::string_view text);

// What continues a function: up to the first line that begins something else at the margin (class,
// def, a comment, if, print).
std::string_view continued_function(std::string_view text);

// Both stripped, then as many lines, each equal when stripped, or equal number by number where both
// are decimals alone ("1.50 2" and "1.5 2.0"). `where`: what differs first, where given.
bool same_output(std::string_view got, std::string_view expected, std::string* where = nullptr);

// A returned value as the runner writes it against the expected JSON, as Python's == has it: 1, 1.0
// and True are equal, a tuple and a list only outermost.
bool same_value(const Json& written, const Json& expected);

// For reasons: at most `characters`, the middle left out.
std::string cut_short(std::string_view text, size_t characters = 200);

}  // namespace dure
