// data/tasks/problem.h: a verifiable problem: a question in one of six languages, the reasoning
// that solves it, and an exact answer.
//
// Owns what a problem is, the train/held-out split, and the verifier. Not here: how problems are
// drawn (mixture.h), their wording (phrasing.h), the chat markup around them (text/chat.h). See
// docs/tasks.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace dure {

enum class Split { kTrain, kHeldout };
const char* split_name(Split split);  // "train", "heldout"

enum class Task {
  kAddition,
  kSubtraction,
  kComparison,
  kSorting,
  kReversing,
  kCounting,
  kCountdown
};
inline constexpr int kTaskCount = 7;
const char* task_name(Task task);  // "addition", ...

inline constexpr std::array<const char*, 6> kTaskLanguages = {"ko", "en", "es", "de", "ja", "vi"};

struct Problem {
  Task task = Task::kAddition;
  std::string language;  // One of kTaskLanguages.
  std::string prompt;    // The user's turn.
  std::string thinking;  // What stands inside <think> ... </think>; lines without a final newline.
  std::string answer;    // The final answer; the verifier accepts it.
  std::string key;  // What is asked, in no language: "addition:85,247". Equal keys share a split.
  bool operator==(const Problem&) const = default;
};

// The split of a key: XXH64 of the key, one key in kHeldoutOneIn is held out. It does not depend on
// seed, language, wording, order of operands or difficulty options, so what one run trains on, no
// other run is tested on.
inline constexpr uint64_t kHeldoutOneIn = 10;
Split split_of_key(std::string_view key);

// Whether `content` (all that follows the reasoning) is a right answer. White space at both ends is
// ignored; lists may separate items by a space, a comma, or a comma and a space. Otherwise exact:
// ASCII digits, no sign, no leading zero, no further word. Countdown: any expression of the
// numbers, each exactly once, with + - * and parentheses, whose value is the target. Never throws
// on any `content`.
bool verify(const Problem& problem, std::string_view content);

// The problem as a document of plain text for pretraining: question, reasoning, answer.
std::string problem_document(const Problem& problem);

}  // namespace dure
