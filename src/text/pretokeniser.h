// text/pretokeniser.h: cuts normalised text into the pieces that merges stay inside.
//
// K-EXAONE's two patterns (words; superwords, which join words over single spaces) are scanned by
// hand; any other list of patterns runs through PCRE2, each pattern cutting the pieces of the one
// before (regex.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/unicode.h"

namespace dure {

// The pattern K-EXAONE's tokenizer.json carries, and the one without the joining of words that
// stage one trains on.
extern const char* const kSuperwordPattern;
extern const char* const kWordPattern;
extern const char* const kGpt2Pattern;

class PreTokeniser {
 public:
  enum class Kind { kWords, kSuperwords, kPatterns };

  PreTokeniser() = default;  // No pattern: the text is one piece.
  // `source` names the patterns in errors. Throws Error kInvalidArgument for a pattern that does
  // not compile.
  PreTokeniser(std::vector<std::string> patterns, std::string_view source);

  Kind kind() const { return kind_; }
  const std::vector<std::string>& patterns() const { return patterns_; }

  // Replaces `ends` by the end offset of every piece of `text` (valid UTF-8), in order; the last is
  // text.size().
  void split(std::string_view text, std::vector<size_t>& ends) const;

 private:
  Kind kind_ = Kind::kPatterns;
  std::vector<std::string> patterns_;
  std::vector<Regex> regexes_;
};

// The end of the piece that begins at `p` (p < end, valid UTF-8) under K-EXAONE's pattern:
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)                      contraction
//   [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+                words (superwords: single spaces before a
//   letter join) \p{N}                                             one digit
//    ?[^\s\p{L}\p{N}]+[\r\n/]?                        punctuation, marks, symbols
//   \s*[\r\n]                                         white space up to its last line break
//   \s+(?!\S)  \s+                                    white space but its last character, which
//   goes to what follows
template <bool kJoinWords>
const char* exaone_piece_end(const CharTable& table, const char* p, const char* end);

}  // namespace dure
