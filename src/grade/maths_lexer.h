// grade/maths_lexer.h: LaTeX and plain text as the tokens of maths_parser.cc.
//
// Commands of LaTeX and Unicode signs become the words and signs that plain text uses; what only
// lays out (\left, \, , \displaystyle, $) goes. Not here: what follows what (maths_parser.cc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dure {

enum class MathsTokenKind {
  kNumber,    // digits and at most one point
  kName,      // one letter, or "alpha", "pi", ...
  kFunction,  // "sin", "ln", "floor", ...
  kWord,      // text that is no mathematics
  kSign,      // "+", "<=", "frac", "{", "begin", ...
  kEnd,
};

struct MathsToken {
  MathsTokenKind kind = MathsTokenKind::kEnd;
  std::string text;
  bool space_before = false;
};

enum class MathsCommas { kGroupThousands, kSeparate };

// Throws MathsGivenUp: a command or a character that is not known.
std::vector<MathsToken> maths_tokens(std::string_view text, MathsCommas commas);

// Whether `word` may stand behind a number as its unit though it has few letters: cm, kg, ...
bool is_short_unit(std::string_view word);

}  // namespace dure
