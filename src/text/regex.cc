// PCRE2 stays in this file. A pattern is translated and compiled once and shared by copies;
// matching is bounded in steps, heap and stack, with match data of the thread's own.
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/regex_translate.h"

namespace dure {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;  // Steps within one match: far above any real piece.
constexpr uint32_t kHeapLimitKib = 256 * 1024;
std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof(buffer)) < 0)
    return "error " + std::to_string(code);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern, std::string_view source)
    : pattern_(pattern), source_(source) {
  const std::string translated = translate_regex(pattern, source);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  // No \K, no callouts and no \C: a match must be a range of whole characters that moves forward.
  compiled->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
      &error, &offset, context);
  pcre2_compile_context_free(context);
  if (compiled->code == nullptr) {
    fail(ErrorCode::kInvalidArgument, "{}: pattern {} cannot be used: {} (near {})", source,
         pattern.substr(0, 200), message_of(error), json_quote(translated.substr(0, offset)));
  }
  compiled->jit = pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE) == 0;
  compiled_ = std::move(compiled);
}

namespace {

// Match data, limits and the JIT stack of one thread: made once, shared by every pattern.
struct Matcher {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 64 * 1024 * 1024, nullptr);
  Matcher() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Matcher() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

}  // namespace

bool Regex::found_in(std::string_view text) const {
  thread_local Matcher matcher;
  const int result = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                                 text.size(), 0, 0, matcher.data, matcher.context);
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    fail(ErrorCode::kUnsupported, "{}: pattern {} cannot be matched: {}", source_,
         pattern_.substr(0, 200), message_of(result));
  return result >= 0;
}

void Regex::split(std::string_view text, std::vector<size_t>& ends) const {
  thread_local Matcher matcher;
  size_t done = 0, from = 0;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (from < text.size()) {
    const int result = pcre2_match(compiled_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                                   matcher.data, matcher.context);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      fail(ErrorCode::kUnsupported,
           "{}: pattern {} is too costly on this text: {} (at byte {} of {})", source_,
           pattern_.substr(0, 200), message_of(result), from, text.size());
    }
    const size_t* range = pcre2_get_ovector_pointer(matcher.data);
    const size_t begin = range[0], end = range[1];
    if (end <= begin) {  // An empty match splits nothing by itself, but cuts what it stands in.
      if (begin > done) ends.push_back(done = begin);
      from = std::max(from, begin) + 1;
      while (from < text.size() && is_utf8_tail(text[from])) ++from;
      continue;
    }
    if (begin > done) ends.push_back(begin);
    ends.push_back(end);
    done = from = end;
  }
  if (done < text.size()) ends.push_back(text.size());
}

}  // namespace dure
