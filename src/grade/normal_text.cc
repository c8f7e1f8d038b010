// Code point by code point, with utf8proc's categories and case foldings.
#include "grade/normal_text.h"

#include <utf8proc.h>

#include "base/error.h"
#include "base/python_text.h"
#include "base/utf8.h"
#include "text/nfc.h"
#include "text/unicode.h"

namespace dure {
namespace {

bool is_punctuation(char32_t code) {
  if (code < 0x80) return code > ' ' && code != 0x7F && !isalnum(static_cast<int>(code));
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

std::string without_punctuation(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (!is_punctuation(code)) append_code_point(out, code);
  }
  return out;
}

bool is_article(std::string_view word) { return word == "a" || word == "an" || word == "the"; }

// Words joined by single spaces.
std::string joined_words(std::string_view text, bool drop_articles) {
  std::string out, word;
  const auto take = [&] {
    if (!word.empty() && !(drop_articles && is_article(word)))
      out += (out.empty() ? "" : " ") + word;
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (python_is_space(code)) {
      take();
    } else {
      append_code_point(word, code);
    }
  }
  take();
  return out;
}

}  // namespace

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t begin = 0;
  for (size_t at; (at = text.find(from, begin)) != std::string_view::npos; begin = at + from.size())
    out.append(text, begin, at - begin).append(to);
  return out.append(text, begin);
}

std::string folded_case(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    utf8proc_int32_t folded[8];
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), folded, 8,
                                               UTF8PROC_CASEFOLD, nullptr);
    if (count < 1 || count > 8) {
      append_code_point(out, code);
      continue;
    }
    for (utf8proc_ssize_t k = 0; k < count; ++k)
      append_code_point(out, static_cast<char32_t>(folded[k]));
  }
  return out;
}

std::string normal_text(std::string_view text, const NormalTextOptions& options) {
  std::string normal = to_nfc(repair_utf8(text));
  if (options.ignore_case) normal = folded_case(normal);
  if (options.ignore_punctuation) normal = without_punctuation(normal);
  return joined_words(normal, options.ignore_articles);
}

std::vector<std::string> reference_texts(const Json& reference, const std::string& where) {
  if (reference.is_string()) return {reference.as_string()};
  if (reference.is_int()) return {std::to_string(reference.as_int())};
  if (reference.is_number()) return {shortest_double(reference.as_double())};
  if (reference.is_bool()) return {reference.as_bool() ? "True" : "False"};
  std::vector<std::string> texts;
  if (!reference.is_array() || reference.size() == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the reference must be a text, a number or a list of them; it is {}", where,
         reference.kind_name());
  }
  for (const Json& item : reference.as_array()) {
    if (item.is_array()) fail(ErrorCode::kInvalidArgument, "{}: a list within the list", where);
    texts.push_back(reference_texts(item, where).front());
  }
  return texts;
}

}  // namespace dure
