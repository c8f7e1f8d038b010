// IFEval's published verdicts on a model's answers: instruction by instruction, strict and loose.
#include "verdict_instructions.h"

namespace dure {
namespace {

TEST(VerdictIfeval, EveryInstruction) {
  const std::string language =
      "langdetect counts n-grams of its own corpora; texts without sentences are a guess of both";
  verdicts::expect_instruction_verdicts(
      "ifeval/verdicts_gpt-4o-2024-08-06.jsonl", "ifeval/input_data.jsonl",
      {.set = InstructionSet::kIfeval,
       .reasons = {{"language:response_language", language},
                   {"change_case:english_capital", language},
                   {"change_case:english_lowercase", language},
                   {"keywords:letter_frequency",
                    "the published checker draws a random letter for '#' and '!'"},
                   {"length_constraints:number_sentences",
                    "our own list of abbreviations: 3 texts of 1000 have another count"}},
       .share_max = 0.01});
}

}  // namespace
}  // namespace dure
