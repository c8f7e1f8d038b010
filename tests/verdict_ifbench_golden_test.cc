// IFBench's published verdicts on its sample answers: instruction by instruction, strict and loose.
#include "verdict_instructions.h"

namespace dure {
namespace {

TEST(VerdictIfbench, EveryInstruction) {
  verdicts::expect_instruction_verdicts(
      "ifbench/verdicts_sample_output.jsonl", "ifbench/IFBench_test.jsonl",
      {.set = InstructionSet::kIfbench,
       .reasons =
           {{"words:start_verb",
             "the published tagger's weights are not copied: ours agrees on 97 % of first words"},
            {"words:odd_even_syllables", "the published dictionary of syllables is not copied"}},
       .share_max = 0.02});
}

}  // namespace
}  // namespace dure
