// text/regex_reader.h: a pattern while it is read: characters, counts, names, escapes that stand
// for one character, and refusals that say where.
//
// Not here: what the pattern means and how it is written again (regex_translate.cc), escapes that
// stand for a set (regex_properties.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dure {

class PatternReader {
 public:
  // Both outlive it; `pattern` is UTF-8. `source` names the file in refusals.
  PatternReader(std::string_view pattern, std::string_view source)
      : pattern_(pattern), source_(source) {}

 protected:
  // Throws kInvalidArgument.
  [[noreturn]] void refuse(size_t where, std::string_view what) const;
  // The construct that stands from `begin` to where reading stopped.
  [[noreturn]] void unsupported(size_t begin, std::string_view why) const;

  bool more() const { return at_ < pattern_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool take(std::string_view text);
  char32_t take_char();

  // `{n}`, `{n,}`, `{,n}` or `{n,m}` in PCRE2's words; anything else in braces is text, and not
  // read.
  bool interval(std::string& quantifier);
  void name_of_group(char closing);
  // An escape that stands for one character.
  char32_t escaped_char(bool in_class);

  std::string_view pattern_, source_;
  size_t at_ = 0;

 private:
  char32_t hex_char(size_t begin);
};

}  // namespace dure
