// text/regex_translate.h: a pattern as tokenizer files write it (Oniguruma's own syntax) in the
// words of PCRE2.
//
// Owns the grammar: what the two engines read alike passes, what they read differently is spelled
// out, what has no spelling is refused by name; docs/tokenizer.md has the table. Not here: names of
// sets (regex_properties.h), compiling and matching (regex.h).
#pragma once

#include <string>
#include <string_view>

namespace dure {

// For PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE and newline LF. Throws Error
// kInvalidArgument naming `source`, the construct and its byte.
std::string translate_regex(std::string_view pattern, std::string_view source);

}  // namespace dure
