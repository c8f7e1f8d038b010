// PCRE2 under limits: 10 million steps and 64 MiB a match, and 1 million matches a text.
#include "grade/answer_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdlib>

#include "base/error.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr uint32_t kStepsMax = 10'000'000;
constexpr uint32_t kHeapKibMax = 64 * 1024;
constexpr int64_t kMatchesMax = 1'000'000;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(code, buffer, sizeof(buffer)) < 0)
    return "error " + std::to_string(code);
  return reinterpret_cast<const char*>(buffer);
}

struct MatchContext {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  MatchContext() {
    pcre2_set_match_limit(context, kStepsMax);
    pcre2_set_heap_limit(context, kHeapKibMax);
  }
  ~MatchContext() { pcre2_match_context_free(context); }
};

// A match's place and groups; a group that took no part is empty, as Python's findall() has it.
PatternMatch match_of(std::string_view text, const PCRE2_SIZE* bounds, uint32_t group_count) {
  PatternMatch match{.begin = bounds[0], .end = bounds[1]};
  for (uint32_t g = group_count == 0 ? 0 : 1; g <= group_count; ++g) {
    const PCRE2_SIZE begin = bounds[2 * g];
    match.groups.emplace_back(begin == PCRE2_UNSET ? ""
                                                   : text.substr(begin, bounds[2 * g + 1] - begin));
  }
  return match;
}

}  // namespace

struct AnswerPattern::Compiled {
  pcre2_code* code = nullptr;
  uint32_t group_count = 0;
  ~Compiled() { pcre2_code_free(code); }
};

const std::string& PatternMatch::first_group() const {
  for (const std::string& group : groups)
    if (!group.empty()) return group;
  return groups.front();
}

AnswerPattern::AnswerPattern(const std::string& pattern, std::string_view where) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  compiled->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (compiled->code == nullptr) {
    fail(ErrorCode::kInvalidArgument, "{}: the pattern '{}' cannot be used: {} (at byte {})", where,
         pattern.substr(0, 200), message_of(error), offset);
  }
  pcre2_pattern_info(compiled->code, PCRE2_INFO_CAPTURECOUNT, &compiled->group_count);
  compiled_ = std::move(compiled);
}

PatternSearch AnswerPattern::search(std::string_view text, WhichMatch which) const {
  thread_local MatchContext limits;
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr), pcre2_match_data_free);
  PatternSearch found;
  size_t from = 0;
  for (int64_t count = 0; from <= text.size(); ++count) {
    // The text is known to be UTF-8: checking it again for every match would be quadratic.
    const int result =
        pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                    count == 0 ? 0 : PCRE2_NO_UTF_CHECK, data.get(), limits.context);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0 || count == kMatchesMax) return {.match = std::nullopt, .gave_up = true};
    found.match = match_of(text, pcre2_get_ovector_pointer(data.get()), compiled_->group_count);
    if (which == WhichMatch::kFirst) break;
    from = found.match->end;
    if (found.match->begin >= from)  // Empty, or turned back by \K: one character on.
      from += from < text.size() ? static_cast<size_t>(std::abs(utf8_length(text, from))) : 1;
  }
  return found;
}

std::string with_letters(std::string pattern, std::string_view letter_class) {
  for (size_t at; (at = pattern.find("{L}")) != std::string::npos;)
    pattern.replace(at, 3, letter_class);
  return pattern;
}

}  // namespace dure
