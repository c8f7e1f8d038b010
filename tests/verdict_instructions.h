// tests/verdict_instructions.h: published verdicts on instructions, compared one by one.
//
// Owns reading the two files of a set, counting, printing every disagreement, and the rule of what
// may disagree: kinds with a reason, and no more of them than a share of all instructions (rows
// that are not here are held to the same). Not here: the sets (verdict_*_golden_test.cc).
#pragma once

#include <fstream>
#include <map>

#include "grade/instructions/instruction_grader.h"
#include "verdicts.h"

namespace dure::verdicts {

struct InstructionsExpected {
  InstructionSet set = InstructionSet::kIfeval;
  std::map<std::string, std::string> reasons;  // kinds that may disagree, and why
  double share_max = 0;                        // of all verdicts, strict and loose
};

inline std::string key_of(const Json& row) {
  const Json& key = row.at("key");
  return key.is_string() ? key.as_string() : key.dump();
}

inline std::vector<Json> rows_of(const Path& path) {
  std::vector<Json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) rows.push_back(parse_json(line, path.string()));
  return rows;
}

struct InstructionTally {
  int64_t rows = 0, cannot_tell = 0, instructions = 0, strict = 0, loose = 0;
  int64_t strict_prompts = 0, loose_prompts = 0;  // all of whose instructions agree
};

inline Item item_of(const Json& row) {
  Item item{.id = key_of(row)};
  item.reference["instruction_id_list"] = row.at("instruction_id_list");
  item.reference["kwargs"] = row.at("kwargs");
  return item;
}

inline void tell(const std::string& key, const InstructionJudgement& ours, bool strict, bool loose,
                 const InstructionsExpected& expected) {
  const auto reason = expected.reasons.find(ours.id);
  std::printf("differs: %s %s: ours %d/%d, theirs %d/%d (strict/loose); ours: %s; because: %s\n",
              key.c_str(), ours.id.c_str(), ours.strict, ours.loose, strict, loose,
              ours.why.empty() ? "followed" : ours.why.c_str(),
              reason == expected.reasons.end() ? "?" : reason->second.c_str());
  EXPECT_TRUE(reason != expected.reasons.end())
      << key << ": " << ours.id << " has no reason to differ";
}

inline void compare_row(const Json& verdict, const Item& item, const InstructionsExpected& expected,
                        InstructionTally& tally) {
  std::string why;
  const auto judged =
      judge_instructions(expected.set, item, verdict.at("response").as_string(), why);
  ++tally.rows;
  if (!judged) {
    ++tally.cannot_tell;
    std::printf("cannot tell: %s: %s\n", item.id.c_str(), why.c_str());
    EXPECT_NE(why.find("MeCab"), why.npos);
    return;
  }
  bool all_strict = true, all_loose = true;
  for (size_t i = 0; i < judged->size(); ++i) {
    const InstructionJudgement& ours = (*judged)[i];
    const bool strict = verdict.at("strict").at(i).as_bool();
    const bool loose = verdict.at("loose").at(i).as_bool();
    if (ours.strict != strict || ours.loose != loose) tell(item.id, ours, strict, loose, expected);
    ++tally.instructions;
    tally.strict += ours.strict == strict;
    tally.loose += ours.loose == loose;
    all_strict = all_strict && ours.strict == strict;
    all_loose = all_loose && ours.loose == loose;
  }
  tally.strict_prompts += all_strict;
  tally.loose_prompts += all_loose;
}

// Passes where the verdicts are not there.
inline void expect_instruction_verdicts(const std::string& verdicts, const std::string& questions,
                                        const InstructionsExpected& expected) {
  const auto verdict_path = file(verdicts);
  const auto question_path = companion(questions);
  if (!verdict_path || !question_path) return;
  std::map<std::string, Item> items;
  for (const Json& row : rows_of(*question_path)) items[key_of(row)] = item_of(row);
  InstructionTally tally;
  for (const Json& row : rows_of(*verdict_path)) {
    const auto item = items.find(key_of(row));
    ASSERT_NE(item, items.end()) << key_of(row);
    compare_row(row, item->second, expected, tally);
  }
  std::printf(
      "%s: %lld rows (%lld cannot be told); instructions: strict %lld, loose %lld of %lld; "
      "prompts: strict %lld, loose %lld\n",
      verdicts.c_str(), static_cast<long long>(tally.rows),
      static_cast<long long>(tally.cannot_tell), static_cast<long long>(tally.strict),
      static_cast<long long>(tally.loose), static_cast<long long>(tally.instructions),
      static_cast<long long>(tally.strict_prompts), static_cast<long long>(tally.loose_prompts));
  EXPECT_GT(tally.rows, 0);
  const auto differing = static_cast<double>(2 * tally.instructions - tally.strict - tally.loose);
  EXPECT_LE(differing, expected.share_max * 2 * static_cast<double>(tally.instructions));
}

}  // namespace dure::verdicts
