// eval/report_samples.h: sample answers, the same problem's of all models side by side.
//
// Owns what is said where there is no answer to show. Not here: which answers are kept
// (evaluate.h).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

bool is_right(const Json& sample);  // false where it does not say

// Why an answer is blank, in brackets, or "" where it is not: "(no answer: ended inside its
// reasoning after 8 tokens)".
std::string blank_note(const Json& sample);

std::string samples_html(const std::vector<Json>& results);  // "" where none were kept
std::string samples_markdown(const Json& result);

}  // namespace dure
