// text/inline_reasoning.h: reasoning that stands inside the content of an answer, in <think> marks.
//
// Many data sets write "<think>why</think>answer" as one text. As the family's parser reads what
// the model says (output_parser.h): what stands before the first </think> is reasoning, the rest is
// content. Not here: which records are split (data/chat_record.h), what a template makes of both.
#pragma once

#include <string>
#include <string_view>

namespace dure {

enum class InlineMarks {
  kNone,
  kSplit,     // Reasoning at the start, the rest free of marks.
  kUnclosed,  // It opens at the start and never ends.
  kUnclear,   // Marks in other places, or a second block: what they mean cannot be told.
  kForeign,   // It begins with marks of another kind: <thinking>, [THINK], ...
};

struct InlineReasoning {
  InlineMarks marks = InlineMarks::kNone;
  std::string reasoning, content;  // kSplit: stripped of white space at both ends.
  std::string mark;                // Else, where there are any: the mark that was met.
};

// A block at the start; or a </think> alone at the end of a line or after one, whose opening stood
// in the prompt.
InlineReasoning find_inline_reasoning(std::string_view content);

}  // namespace dure
