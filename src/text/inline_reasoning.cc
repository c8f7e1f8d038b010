// Plain searches for marks; nothing is decoded.
#include "text/inline_reasoning.h"

#include <array>

#include "base/python_text.h"

namespace dure {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
constexpr std::array<std::string_view, 8> kForeignMarks = {
    "<thinking>",   "<thought>", "<reasoning>",  "<|begin_of_thought|>",
    "<|thinking|>", "[THINK]",   "<seed:think>", "◁think▷"};

bool ends_or_begins_a_line(std::string_view text, size_t begin, size_t end) {
  const bool before = begin == 0 || text[begin - 1] == '\n';
  const bool behind = end == text.size() || text[end] == '\n' || text[end] == '\r';
  return before || behind;
}

InlineReasoning split_at(std::string_view text, size_t open, size_t close) {
  const std::string_view rest = text.substr(close + kClose.size());
  for (const std::string_view mark : {kOpen, kClose}) {
    if (rest.find(mark) != std::string_view::npos)
      return {.marks = InlineMarks::kUnclear, .mark = std::string(mark)};
  }
  return {.marks = InlineMarks::kSplit,
          .reasoning = std::string(python_strip(text.substr(open, close - open))),
          .content = std::string(python_strip(rest))};
}

}  // namespace

InlineReasoning find_inline_reasoning(std::string_view content) {
  const std::string_view text = python_strip(content);
  for (const std::string_view mark : kForeignMarks) {
    if (text.starts_with(mark)) return {.marks = InlineMarks::kForeign, .mark = std::string(mark)};
  }
  const size_t open = text.find(kOpen);
  const size_t close = text.find(kClose);
  const auto none = std::string_view::npos;
  if (open == none && close == none) return {};
  if (open == 0) {
    if (close == none) return {.marks = InlineMarks::kUnclosed, .mark = std::string(kOpen)};
    return split_at(text, kOpen.size(), close);
  }
  const bool alone = close != none && (open == none || close < open);
  if (alone && ends_or_begins_a_line(text, close, close + kClose.size()))
    return split_at(text, 0, close);
  return {.marks = InlineMarks::kUnclear, .mark = std::string(alone ? kClose : kOpen)};
}

}  // namespace dure
