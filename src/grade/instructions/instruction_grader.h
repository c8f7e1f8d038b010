// grade/instructions/instruction_grader.h: graders of answers that must follow instructions which a
// program can check.
//
// Owns `ifeval` (IFEval and M-IFEval) and `ifbench`. The item's reference is as those sets publish
// it: {"instruction_id_list": ["punctuation:no_comma", ..], "kwargs": [{..}, ..]}, one element
// each. Not here: what a kind means (instruction.h).
//
// Strict: the answer as it is. Loose: any of eight readings of it, without its first line, its last
// line, both or neither, with and without every '*'; each instruction may choose its own. An answer
// without a character but white space follows nothing.
// Sources: Zhou et al., "Instruction-Following Evaluation for Large Language Models"
// (arXiv 2311.07911); Pyatkin et al., "Generalizing Verifiable Instruction Following" (IFBench,
// arXiv 2507.02833); Dussolle et al., "M-IFEval" (arXiv 2502.04688).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "grade/graders.h"

namespace dure {

enum class Reading { kStrict, kLoose };
constexpr auto enum_names(Reading) {
  return std::to_array<EnumName<Reading>>(
      {{Reading::kStrict, "strict"}, {Reading::kLoose, "loose"}});
}

// Adds the graders. Score: 1 where every instruction is followed in the reading that the option
// `score` names (ifeval: strict, ifbench: loose). Parts: strict_prompt, loose_prompt (0 or 1);
// instructions (how many), strict_instructions and loose_instructions (the shares followed).
void add_instruction_graders(GraderTable& table);

// What became of one instruction.
struct InstructionJudgement {
  std::string id;
  bool strict = false, loose = false;
  std::string why;  // not followed as it is; empty where followed
};
enum class InstructionSet { kIfeval, kIfbench };
// In the order of the reference; absent: cannot be told (then `why` says it).
std::optional<std::vector<InstructionJudgement>> judge_instructions(InstructionSet set,
                                                                    const Item& item,
                                                                    std::string_view answer,
                                                                    std::string& why);

}  // namespace dure
