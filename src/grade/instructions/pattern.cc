// PCRE2 with limits per match and per text; \b, \w and \d by Unicode, as in Python.
#include "grade/instructions/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "base/utf8.h"

namespace dure::instructions {

constexpr uint32_t kMatchLimit = 1'000'000;  // steps from one place
constexpr uint32_t kHeapLimitKib = 64 * 1024;

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

namespace {

struct Matcher {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  Matcher() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
  }
  ~Matcher() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};

// The first match at or behind `from`; false where there is none.
bool match(const pcre2_code* code, const std::string& pattern, std::string_view text, size_t from,
           size_t& begin, size_t& end) {
  thread_local Matcher matcher;
  const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, matcher.data, matcher.context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) throw TooCostly{pattern};
  const size_t* range = pcre2_get_ovector_pointer(matcher.data);
  begin = range[0];
  end = range[1];
  return true;
}

}  // namespace

Pattern::Pattern(std::string pattern, LetterCase letter_case, std::string_view where)
    : pattern_(std::move(pattern)) {
  auto compiled = std::make_shared<Compiled>();
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  const uint32_t options =
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
      (letter_case == LetterCase::kIgnored ? static_cast<uint32_t>(PCRE2_CASELESS) : 0U);
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern_.data()), pattern_.size(),
                                 options, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (compiled->code == nullptr) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is no regular expression: {} (at byte {})", where,
         pattern_.substr(0, 200), reinterpret_cast<const char*>(message), offset);
  }
  compiled_ = std::move(compiled);
}

bool Pattern::found_in(std::string_view text) const {
  size_t begin = 0, end = 0;
  return match(compiled_->code, pattern_, text, 0, begin, end);
}

int64_t Pattern::count_in(std::string_view text) const {
  int64_t count = 0;
  size_t begin = 0, end = 0;
  for (size_t from = 0;
       from <= text.size() && match(compiled_->code, pattern_, text, from, begin, end); ++count) {
    from = end;
    if (end == begin) {  // an empty match: the next may begin one character on
      ++from;
      while (from < text.size() && is_utf8_tail(text[from])) ++from;
    }
  }
  return count;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = static_cast<unsigned char>(c) >= 0x80 || (c >= 'a' && c <= 'z') ||
                       (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace dure::instructions
