// text/regex.h: patterns a tokenizer file brings, run by PCRE2 (JIT, UTF-8, Unicode properties)
// under limits.
//
// Tokenizer files write their patterns for Oniguruma, and they mean here what they mean there
// (regex_translate.h). Not here: K-EXAONE's own pattern, which is scanned by hand (pretokeniser.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dure {

class Regex {
 public:
  // Throws Error kInvalidArgument naming the offset and the reason; `source` says where the pattern
  // stands.
  Regex(const std::string& pattern, std::string_view source);

  // Appends the end offset of every piece of `text` (valid UTF-8): the matches and what lies
  // between them, in order, none empty. Throws kUnsupported where matching exceeds its limits
  // (catastrophic patterns).
  void split(std::string_view text, std::vector<size_t>& ends) const;

  // Whether the pattern matches anywhere in `text`. Throws as split() does.
  bool found_in(std::string_view text) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Compiled;
  std::string pattern_, source_;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace dure
