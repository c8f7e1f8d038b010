// The string rules of the MATH data set (hendrycks/math, math_equivalence.py), written from what
// they do; where the published code raises an exception, there is no form.
#include <algorithm>
#include <charconv>
#include <vector>

#include "grade/match.h"
#include "grade/normal_text.h"

namespace dure {
namespace {

std::vector<std::string_view> split(std::string_view text, std::string_view by) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t at; (at = text.find(by, begin)) != std::string_view::npos; begin = at + by.size())
    parts.push_back(text.substr(begin, at - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

// \frac12 and \frac1{2} get their braces. A lone \frac at the end has no form; one that is followed
// by a single character leaves the whole text as it is.
std::optional<std::string> with_frac_braces(const std::string& text) {
  const auto parts = split(text, "\\frac");
  std::string out(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string_view part = parts[i];
    out += "\\frac";
    if (part.empty()) return std::nullopt;
    if (part[0] == '{') {
      out += part;
      continue;
    }
    if (part.size() < 2) return text;
    out.append("{").append(1, part[0]).append("}");
    if (part[1] == '{') {
      out += part.substr(1);
    } else {
      out.append("{").append(1, part[1]).append("}").append(part.substr(2));
    }
  }
  return out;
}

std::optional<std::string> with_sqrt_braces(const std::string& text) {
  const auto parts = split(text, "\\sqrt");
  std::string out(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string_view part = parts[i];
    if (part.empty()) return std::nullopt;
    out += "\\sqrt";
    if (part[0] == '{') {
      out += part;
    } else {
      out.append("{").append(1, part[0]).append("}").append(part.substr(1));
    }
  }
  return out;
}

// Whether `text` is an integer as Python prints it.
bool is_canonical_integer(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() ||
      !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return false;
  return digits[0] != '0' || text == "0";
}

std::string slash_as_frac(const std::string& text) {
  const auto parts = split(text, "/");
  if (parts.size() != 2 || !is_canonical_integer(parts[0]) || !is_canonical_integer(parts[1]))
    return text;
  return "\\frac{" + std::string(parts[0]) + "}{" + std::string(parts[1]) + "}";
}

std::string with_leading_zeros(std::string text) {
  text = replaced(text, " .", " 0.");
  text = replaced(text, "{.", "{0.");
  return text.starts_with('.') ? "0" + text : text;
}

// "k=5" is 5: what stands in front of the only "=" has at most two characters.
std::string without_short_left_side(const std::string& text) {
  const auto sides = split(text, "=");
  return sides.size() == 2 && sides[0].size() <= 2 ? std::string(sides[1]) : text;
}

}  // namespace

std::optional<std::string> hendrycks_form(std::string_view answer) {
  std::string text(answer);
  for (const auto& [from, to] :
       std::initializer_list<std::pair<const char*, const char*>>{{"\n", ""},
                                                                  {"\\!", ""},
                                                                  {"\\\\", "\\"},
                                                                  {"tfrac", "frac"},
                                                                  {"dfrac", "frac"},
                                                                  {"\\left", ""},
                                                                  {"\\right", ""},
                                                                  {"^{\\circ}", ""},
                                                                  {"^\\circ", ""},
                                                                  {"\\$", ""}})
    text = replaced(text, from, to);
  const auto units = split(text, "\\text{ ");
  if (units.size() > 2) return std::nullopt;
  text = replaced(units[0], "\\%", "");
  text = with_leading_zeros(std::move(text));
  if (text.empty()) return text;
  const auto roots = with_sqrt_braces(without_short_left_side(text));
  if (!roots) return std::nullopt;
  const auto fractions = with_frac_braces(replaced(*roots, " ", ""));
  if (!fractions) return std::nullopt;
  return slash_as_frac(*fractions == "0.5" ? "\\frac{1}{2}" : *fractions);
}

bool hendrycks_equal(std::string_view a, std::string_view b) {
  const auto form_a = hendrycks_form(a), form_b = hendrycks_form(b);
  return form_a && form_b ? *form_a == *form_b : a == b;
}

std::optional<std::string_view> last_boxed(std::string_view text) {
  constexpr std::string_view kSpaced = "\\boxed ";
  if (const size_t at = text.rfind(kSpaced); at != std::string_view::npos) {
    const std::string_view rest = text.substr(at + kSpaced.size());
    return rest.substr(0, rest.find('$'));
  }
  size_t at = text.rfind("\\boxed");
  if (at == std::string_view::npos) at = text.rfind("\\fbox");
  if (at == std::string_view::npos) return std::nullopt;
  const size_t open = text.find('{', at);
  if (open == std::string_view::npos) return std::nullopt;
  int64_t depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return text.substr(open + 1, i - open - 1);
  }
  return std::nullopt;
}

}  // namespace dure
