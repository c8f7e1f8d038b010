// The stages of pretraining and fine-tuning, as configured, against the same steps taken by hand:
// whole batches, numbers written out, a learner of its own. What a step does with its batches has
// its test in double (train/whole_step_test.cc); this is about what a configuration passes on.
#include <cmath>

#include "data/pieces.h"
#include "data/sft.h"
#include "data/tokenise.h"
#include "model/load.h"
#include "tensor/cpu_stream.h"
#include "tiny_runs.h"
#include "train/learner.h"
#include "train/starting_model.h"
#include "train/train_data.h"

namespace dure {
namespace {

constexpr int64_t kSteps = 3, kRows = 3, kTokens = 32, kSftTokens = 128;
constexpr double kPeak = 0.01, kRates[kSteps] = {0.5 * kPeak, kPeak, 0.5 * kPeak};

class Stages : public TinyRuns {
 protected:
  // Every number another than the default.
  static TrainConfig configured(TrainConfig c) {
    c.seed = 5;
    c.steps = kSteps;
    c.batch = {.rows = kRows, .tokens = c.batch.tokens, .micro_rows = 1};
    c.loss = {.mtp_coefficient = 0.3,
              .balance_coefficient = 0.05,
              .router_bias_rate = 0.02,
              .train_router = true};
    c.optimiser = {.kind = OptimiserKind::kAdamW,
                   .learning_rate = kPeak,
                   .weight_decay = 0.3,
                   .beta1 = 0.8,
                   .beta2 = 0.9,
                   .epsilon = 1e-3,
                   .clip_norm = 0.5};
    c.schedule = {.warmup_steps = 2, .decay_steps = 1, .final_fraction = 0.5};
    c.record = {.eval_steps = kSteps, .eval_rows = 4};
    return c;
  }

  // The learner of such a configuration, a step's rows at a time.
  static LearnerOptions by_hand(int64_t row_tokens, bool train_router) {
    return {.optimiser = {.kind = OptimiserKind::kAdamW,
                          .weight_decay = 0.3,
                          .beta1 = 0.8,
                          .beta2 = 0.9,
                          .epsilon = 1e-3,
                          .clip_norm = 0.5},
            .pass = {.rows_max = kRows * row_tokens, .mtp = true},
            .router_bias_rate = 0.02,
            .train_router = train_router};
  }

  static void take_steps(std::shared_ptr<const DocumentSource> documents, int64_t row_tokens,
                         int32_t pad_id, Learner& learner) {
    BatchSource source({{std::move(documents), 1, "documents"}}, {.packing = Packing::kBestFit,
                                                                  .row_count = kRows,
                                                                  .row_tokens = row_tokens,
                                                                  .pad_id = pad_id,
                                                                  .seed = 5});
    for (const double rate : kRates) {
      TrainBatch batch = source.next();
      drop_padding(batch, pad_id);
      learner.accumulate(input_of(batch), {.mtp_coefficient = 0.3, .balance_coefficient = 0.05});
      learner.update(rate, "by hand");
    }
  }

  // Two sums of one gradient: a thousandth of the rate apart at most.
  static void expect_released(const std::string& output, Learner& learner, Stream& stream) {
    Learner released(learner.config(), {.pass = {.rows_max = 1}}, stream);
    load_parameters(ModelFiles(at(output) / "model"), released.parameters(), stream);
    for (const Parameter& p : learner.parameters().list()) {
      const float* got = released.parameters().at(p.name).view.f32();
      for (int64_t i = 0; i < p.view.elements(); ++i)
        ASSERT_NEAR(got[i], p.view.f32()[i], 1e-3 * kPeak) << output << " " << p.name << " " << i;
    }
  }
};

// Mean loss over the first `rows` rows of the set, and bits over the bytes of its text.
void expect_heldout(const Json& row, const std::shared_ptr<const DocumentSource>& documents,
                    int64_t rows, const Tokenizer& tokenizer, int32_t pad_id, Learner& learner,
                    Stream& stream) {
  EvalBatches batches(documents, {.row_tokens = kTokens, .overlap_tokens = 1, .pad_id = pad_id});
  double nats = 0, tokens = 0;
  int64_t bytes = 0;
  TrainBatch batch;
  for (int64_t i = 0; i < rows && batches.next(batch); ++i) {
    learner.pass().forward(learner.weights(), input_of(batch), stream);
    nats += learner.pass().losses({}, stream).loss_sum;
    for (const int32_t target : batch.targets) {
      if (target == kIgnoredTarget) continue;
      ++tokens;
      if (target != tokenizer.eos_id()) bytes += std::ssize(tokenizer.token_bytes(target));
    }
  }
  EXPECT_NEAR(row.at("eval_loss").as_double(), nats / tokens, 1e-5);
  EXPECT_NEAR(row.at("eval_bits_per_byte").as_double(),
              nats / std::log(2.0) / static_cast<double>(bytes), 1e-5);
}

TEST_F(Stages, PretrainingTakesTheStepsItIsConfiguredFor) {
  for (const bool train_router : {true, false}) {
    TrainConfig c = configured(config(train_router ? "all" : "frozen"));
    c.loss.train_router = train_router;
    run(c);
    const StartingModel start =
        open_starting_model({}, at("tokenizer"), parse_json(kModel, "model"), "test");
    const auto text = [&](const Path& file) {
      return tokenise_corpus(file, start.tokenizer, at("cache"));
    };
    CpuStream stream;
    Learner learner(start.config, by_hand(kTokens, train_router), stream);
    learner.parameters().initialise(5, stream);
    take_steps(std::make_shared<PiecedDocuments>(text(train_file(at("corpus"))), kTokens), kTokens,
               start.pad_id, learner);
    expect_released(train_router ? "all" : "frozen", learner, stream);
    if (!train_router) continue;
    const std::vector<std::string> languages = heldout_languages(at("corpus"));
    ASSERT_EQ(languages.size(), 1u);
    expect_heldout(read_metrics(at("all/metrics.jsonl")).back(),
                   text(heldout_file(at("corpus"), languages.front())), 4, start.tokenizer,
                   start.pad_id, learner, stream);
  }
}

TEST_F(Stages, FineTuningTakesTheStepsItIsConfiguredFor) {
  run(configured(config("base")));
  TrainConfig c = configured(tuning("tuned", "base/model"));
  c.batch.tokens = kSftTokens;
  run(c);
  const StartingModel start = open_starting_model(find_model((at("base") / "model").string()),
                                                  at("base/model"), {}, "test");
  const TrainingFormat format(start.tokenizer, start.chat_template, start.ends,
                              WithoutReasoning::kBoth);
  CpuStream stream;
  Learner learner(start.config, by_hand(kSftTokens, true), stream);
  load_parameters(*start.files, learner.parameters(), stream);
  take_steps(problem_conversations({}, 5, 0, format), kSftTokens, start.pad_id, learner);
  expect_released("tuned", learner, stream);
}

}  // namespace
}  // namespace dure
