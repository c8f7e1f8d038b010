// A reference and a model's text: the answer found in it is compared in bounded time, and what is
// equal to itself stays so.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "grade/choice.h"
#include "grade/match.h"
#include "grade/maths.h"
#include "grade/maths_compare.h"
#include "text/unicode.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(text.find('\n'), size);
  const std::string reference = repair_utf8(text.substr(0, line));
  const std::string answer = maths_answer(repair_utf8(text.substr(std::min(line + 1, size))));
  compare_maths(reference, answer);
  const bool empty = compare_maths("1", answer).why == "the answer is empty";
  DURE_CHECK(empty || compare_maths(answer, answer).verdict == MathsVerdict::kEqual,
             "an answer differs from itself");
  hendrycks_equal(reference, answer);
  static const ChoiceReader letters({.style = ChoiceStyle::kMmmlu}, "fuzz");
  letters.letter(text);
  return 0;
}
