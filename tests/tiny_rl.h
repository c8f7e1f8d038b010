// tests/tiny_rl.h: a tiny model that is right now and then, and RL runs of it.
#pragma once

#include <string>

#include "rl/rl_trainer.h"
#include "tiny_runs.h"

namespace dure {

class RlTest : public TinyRuns {
 protected:
  // A model that gets one-digit comparisons right now and then: enough for groups with variance.
  static void SetUpTestSuite() {
    TinyRuns::SetUpTestSuite();
    TaskMixture mixture = tasks();
    BpeTrainer trainer({.vocab_size = 420});
    for (int64_t i = 0; i < 200; ++i) {
      Rng rng(1, static_cast<uint64_t>(i));
      trainer.add(problem_document(make_problem(mixture, Split::kTrain, rng)));
    }
    trainer.train().save(at("tokenizer"));
    const RlTest self;
    TrainConfig base = self.config("base");
    base.steps = 3;
    run(base);
    TrainConfig sft = self.tuning("sft", "base/model");
    sft.steps = 60;
    sft.data.tasks = mixture;
    sft.optimiser.learning_rate = 0.02;
    run(sft);
  }
  static void TearDownTestSuite() { TinyRuns::TearDownTestSuite(); }
  void TestBody() override {}

  static TaskMixture tasks() {
    TaskMixture mixture;
    mixture.languages = {"en"};
    mixture.comparison = {.digits_min = 1, .digits_max = 1};
    mixture.addition.weight = mixture.subtraction.weight = mixture.sorting.weight =
        mixture.reversing.weight = mixture.counting.weight = mixture.countdown.weight = 0;
    return mixture;
  }

  RlConfig rl(const std::string& output, Objective objective = Objective::kAgapo) const {
    RlConfig c;
    c.init = at("sft/model").string();
    c.output = at(output).string();
    c.steps = 6;
    c.rollout = {.prompts_per_step = 6, .group_size = 6, .new_tokens_max = 24, .sequences_max = 36};
    c.tasks = tasks();
    c.objective = ObjectiveOptions(objective);
    c.schedule = {.warmup_steps = 1, .decay_fraction = 0};
    c.checkpoint = {.every_steps = 2, .keep_last = 2};
    return c;
  }
};

}  // namespace dure
