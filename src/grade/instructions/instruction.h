// grade/instructions/instruction.h: one verifiable instruction as a check of a text, made by its
// kind.
//
// Owns the interface of a check, its arguments as the data sets publish them, and the table of
// kinds. Not here: the kinds (ifeval_*.cc, spanish_kinds.cc, japanese_kinds.cc, ifbench_*.cc),
// strict and loose reading and the grade (instruction_grader.h).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "grade/instructions/characters.h"

namespace dure::instructions {

// The same text by bytes (valid UTF-8) and by characters.
struct Text {
  explicit Text(std::string text) : utf8(std::move(text)), chars(chars_of(utf8)) {}
  explicit Text(CharsView text) : utf8(utf8_of(text)), chars(text) {}
  std::string utf8;
  Chars chars;
};

struct Verdict {
  bool followed = false;
  std::string why;  // not: in words; empty where followed
  static Verdict yes() { return {true, ""}; }
  static Verdict no(std::string why) { return {false, std::move(why)}; }
  static Verdict of(bool followed, std::string why) {
    return followed ? yes() : no(std::move(why));
  }
};

// Never throws because of what the text holds, but for TooCostly (pattern.h) and CannotTell.
using Check = std::function<Verdict(const Text&)>;

// The check needs what is not installed: the grade is "cannot tell".
struct CannotTell {
  std::string why;
};

// Arguments of one instruction, an element of "kwargs". Throw kInvalidArgument naming the item, the
// instruction and the argument, where it is missing (nulls are) or of another type.
class Arguments {
 public:
  Arguments(const Json& kwargs, std::string where) : kwargs_(kwargs), where_(std::move(where)) {}
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  std::string text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  Chars chars(std::string_view name) const { return chars_of(text(name)); }
  const std::string& where() const { return where_; }

 private:
  const Json& at(std::string_view name) const;
  const Json& kwargs_;
  std::string where_;
};

// How many are asked for: "at least", "less than", "at most" and the same in Spanish and Japanese.
enum class Relation { kAtLeast, kLessThan, kAtMost };
Relation relation_of(const Arguments& arguments, std::string_view name);
// "7 sentences, at least 9 asked for".
Verdict compare(int64_t count, Relation relation, int64_t asked, std::string_view of_what);
Verdict exactly(int64_t count, int64_t asked, std::string_view of_what);

using Kinds = std::map<std::string, std::function<Check(const Arguments&)>, std::less<>>;
void add_ifeval_word_kinds(Kinds& kinds);
void add_ifeval_layout_kinds(Kinds& kinds);
void add_spanish_kinds(Kinds& kinds);
void add_japanese_kinds(Kinds& kinds);
void add_ifbench_count_kinds(Kinds& kinds);
void add_ifbench_word_kinds(Kinds& kinds);
void add_ifbench_sentence_kinds(Kinds& kinds);
void add_ifbench_format_kinds(Kinds& kinds);
void add_ifbench_task_kinds(Kinds& kinds);

const Kinds& ifeval_kinds();   // IFEval's 25 and M-IFEval's, by their ids
const Kinds& ifbench_kinds();  // IFBench's 58

}  // namespace dure::instructions
