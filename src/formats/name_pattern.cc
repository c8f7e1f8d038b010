// Patterns as lists of steps, matched by the set of places in the name where a match may stand.
#include "formats/name_pattern.h"

#include <vector>

#include "base/error.h"

namespace dure {
namespace {

struct Step {
  enum class Kind { kLetter, kAny, kDigit } kind = Kind::kLetter;
  char letter = 0;
  bool repeated = false;  // one or more
  bool optional = false;
  bool takes(char c) const {
    if (kind == Kind::kLetter) return c == letter;
    return kind == Kind::kAny || (c >= '0' && c <= '9');
  }
};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

struct Pattern {
  std::vector<Step> steps;
  bool from_start = false;
};

[[noreturn]] void refuse(std::string_view pattern, const std::string& where) {
  fail(ErrorCode::kUnsupported,
       "{}: pattern '{}': only letters, digits, '.', '.*', '\\d+' and '[0-9]+' are read", where,
       pattern);
}

Pattern parse(std::string_view whole, const std::string& where) {
  Pattern out;
  std::string_view rest = whole;
  const auto skip = [&](std::string_view text) {
    if (!rest.starts_with(text)) return false;
    rest.remove_prefix(text.size());
    return true;
  };
  if (skip("^")) out.from_start = true;
  using enum Step::Kind;
  while (!rest.empty()) {
    if (rest == "$") break;
    if (skip("\\.")) {
      out.steps.push_back({kLetter, '.'});
    } else if (skip("\\d") || skip("[0-9]")) {
      out.steps.push_back({kDigit});
    } else if (skip(".")) {
      out.steps.push_back({kAny});
    } else if (is_letter(rest.front())) {
      out.steps.push_back({kLetter, rest.front()});
      rest.remove_prefix(1);
    } else {
      refuse(whole, where);
    }
    if (skip("*")) {
      out.steps.back().repeated = out.steps.back().optional = true;
    } else if (skip("+")) {
      out.steps.back().repeated = true;
    }
  }
  return out;
}

// Places after a step, from the places before it.
std::vector<bool> advance(const Step& step, const std::vector<bool>& before,
                          std::string_view name) {
  std::vector<bool> after(before.size(), false);
  for (size_t i = 0; i < before.size(); ++i) {
    if (step.optional && before[i]) after[i] = true;
    const bool reached = before[i] || (step.repeated && after[i]);
    if (reached && i < name.size() && step.takes(name[i])) after[i + 1] = true;
  }
  return after;
}

}  // namespace

bool name_matches(std::string_view pattern, std::string_view name, const std::string& where) {
  const Pattern parsed = parse(pattern, where);
  std::vector<bool> places(name.size() + 1, false);
  places[0] = true;
  for (size_t i = 0; i < name.size() && !parsed.from_start; ++i) {
    if (name[i] == '.') places[i + 1] = true;
  }
  for (const Step& step : parsed.steps) places = advance(step, places, name);
  return places.back();
}

}  // namespace dure
