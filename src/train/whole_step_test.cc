// Whole steps of pretraining and fine-tuning against a reference in double. Parts are tested beside
// their code; this is about how they are wired.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "tensor/cpu_stream.h"
#include "train/next_token_step.h"
#include "train/reference_fixture.h"
#include "train/run.h"
#include "train/train_data.h"

namespace dure {
namespace {

constexpr int64_t kSteps = 4, kRowTokens = 9, kMicroRows = 2, kDocuments = 12;
constexpr int32_t kPad = 13;
constexpr double kPeak = 0.02, kClip = 0.3, kBiasRate = 0.01, kMtp = 0.3, kBalance = 0.01;
// Warm-up of 2 steps, then a linear decay to a tenth over 2: by hand.
constexpr double kRates[kSteps] = {0.5 * kPeak, kPeak, 0.55 * kPeak, 0.1 * kPeak};

using Batches = std::vector<TrainBatch>;
using BatchesOf = std::function<Batches(int64_t step)>;

// Batches of different numbers of rows and targets, so that a mean of means is another number; one
// is empty.
Batches random_batches(int64_t step) {
  Batches out(3);
  for (size_t m = 0; m < 2; ++m) {
    Rng rng(7, static_cast<uint64_t>(step) * 2 + m);
    TrainBatch& batch = out[m == 0 ? 0 : 2];
    batch.document_lengths = m == 0 ? std::vector<int64_t>{5, 4} : std::vector<int64_t>{1, 7, 5};
    for (const int64_t length : batch.document_lengths) {
      for (int64_t t = 0; t < length; ++t)
        batch.ids.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
      for (int64_t t = length; t > 1; --t) batch.targets.push_back(*(batch.ids.end() - t + 1));
      batch.targets.push_back(kIgnoredTarget);
    }
  }
  return out;
}

// Document i begins with token i; some of its tokens are not learnt, of one of them none.
TokenDocument document(int32_t i) {
  Rng rng(8, static_cast<uint64_t>(i));
  TokenDocument out;
  const int64_t length = 2 + i % 6;
  for (int64_t t = 0; t < length; ++t) {
    const auto drawn = static_cast<int32_t>(rng.below(kSmallVocabulary));
    out.ids.push_back(t == 0 ? i : drawn);
    out.trained.push_back(t > i % 3 && i != 3 ? 1 : 0);
  }
  return out;
}

// Fine-tuning's: whole documents packed into rows, padding taken out; every document once before
// any comes again.
BatchesOf packed_batches() {
  std::vector<TokenDocument> documents;
  for (int32_t i = 0; i < kDocuments; ++i) documents.push_back(document(i));
  const auto source = std::make_shared<BatchSource>(
      std::vector<WeightedSource>{{std::make_shared<MemoryDocuments>(documents), 1, "documents"}},
      PackingOptions{.packing = Packing::kBestFit,
                     .row_count = kMicroRows,
                     .row_tokens = kRowTokens,
                     .pad_id = kPad,
                     .window_rows = 8});
  return [source](int64_t) {
    Batches out(2);
    for (TrainBatch& batch : out) {
      source->next(batch);
      drop_padding(batch, kPad);
    }
    return out;
  };
}

class BatchStage : public Stage {
 public:
  BatchStage(OptimiserKind kind, BatchesOf batches)
      : options_{.optimiser = small_optimiser(kind, kPeak, kClip),
                 .pass = {.rows_max = kMicroRows * kRowTokens, .mtp = true},
                 .router_bias_rate = kBiasRate},
        batches_of_(std::move(batches)) {}
  Json identity() const override { return Json::object(); }
  void open(const Checkpoint*) override {
    learner_.emplace(small_model(), options_, stream_);
    learner_->parameters().initialise(3, stream_);
    tables.push_back(table_of(*learner_));
  }
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return texts_; }
  StepReport step(const StepContext& context) override {
    batches.push_back(batches_of_(context.index));
    reports.push_back(
        next_token_step(batches.back(), {.mtp = kMtp, .balance = kBalance}, context, *learner_));
    tables.push_back(table_of(*learner_));
    return reports.back();
  }
  const LearnerOptions& options() const { return options_; }

  std::vector<ref::WeightTable> tables;  // before the first step, after each
  std::vector<Batches> batches;          // of each step
  std::vector<StepReport> reports;

 private:
  LearnerOptions options_;
  BatchesOf batches_of_;
  CpuStream stream_;
  ModelTexts texts_;
  std::optional<Learner> learner_;
};

ref::RefInput joined(const Batches& batches) {
  ref::RefInput input{.mtp_coefficient = kMtp, .balance_coefficient = kBalance};
  for (const TrainBatch& batch : batches) {
    input.ids.insert(input.ids.end(), batch.ids.begin(), batch.ids.end());
    input.targets.insert(input.targets.end(), batch.targets.begin(), batch.targets.end());
    input.document_lengths.insert(input.document_lengths.end(), batch.document_lengths.begin(),
                                  batch.document_lengths.end());
  }
  return input;
}

// The documents that a step was given, told by their first tokens, and their targets written anew.
ref::RefInput from_documents(const Batches& batches) {
  const ref::RefInput packed = joined(batches);
  ref::RefInput input{.mtp_coefficient = kMtp, .balance_coefficient = kBalance};
  size_t row = 0;
  for (const int64_t length : packed.document_lengths) {
    const TokenDocument known = document(packed.ids[row]);
    EXPECT_EQ(std::ssize(known.ids), length);
    for (size_t t = 0; t < known.ids.size(); ++t) {
      input.ids.push_back(known.ids[t]);
      const bool learnt = t + 1 < known.ids.size() && known.trained[t + 1] != 0;
      input.targets.push_back(learnt ? known.ids[t + 1] : -100);
    }
    input.document_lengths.push_back(length);
    row += static_cast<size_t>(length);
  }
  return input;
}

void expect_report(const StepReport& report, const ref::RefOutput& wanted, double norm) {
  const auto is = [&](const char* name, double value) {
    EXPECT_NEAR(report.row.at(name).as_double(), value, 1e-4 * std::abs(value)) << name;
  };
  is("loss", wanted.loss_sum / static_cast<double>(wanted.valid));
  is("mtp_loss", wanted.mtp_loss_sum / static_cast<double>(wanted.mtp_valid));
  is("balance_loss", wanted.balance_loss);
  is("grad_norm", norm);
  EXPECT_EQ(report.tokens, std::ssize(wanted.log_probability));
}

RunOptions run_options(const Path& folder) {
  return {.title = "whole",
          .folder = folder,
          .config = Json::object(),
          .steps = kSteps,
          .schedule = make_schedule({.warmup_steps = 2,
                                     .decay_steps = 2,
                                     .final_fraction = 0.1,
                                     .decay = DecayShape::kLinear},
                                    kPeak, kSteps),
          .tensorboard = false};
}

// The bound: a gradient in f32 is off by about 1e-6 of its largest element; Newton-Schulz lifts
// what is small by up to 3.44^5 = 485, and a step moves a weight by about the learning rate: 5e-4
// of it a step. Every fault of the wiring moves some weight by more than a hundredth of the rate.
void expect_reference_steps(OptimiserKind kind, BatchesOf batches,
                            ref::RefInput (*input_of_step)(const Batches&)) {
  ::setenv("DURE_PROGRESS", "off", 1);
  const TemporaryFolder folder;
  BatchStage stage(kind, std::move(batches));
  dure::Run(run_options(folder.path() / "run"), stage).run();
  ReferenceLearner reference(stage.options(), stage.learner().parameters().list(),
                             stage.tables.front());
  double worst = 0;
  for (size_t step = 0; step < kSteps; ++step) {
    const ref::RefInput input = input_of_step(stage.batches[step]);
    const ref::RefOutput output = ref::run_model(small_model(), reference.weights(), input);
    const double norm = reference.update(
        [&](const ref::WeightTable& weights) {
          return ref::run_model(small_model(), weights, input).objective;
        },
        kRates[step], output.routing);
    EXPECT_GT(norm, 1.5 * kClip) << "clipping must be active";
    expect_report(stage.reports[step], output, norm);
    worst = std::max(worst, expect_near(stage.tables[step + 1], reference.weights(), 1e-3 * kPeak,
                                        fmt::format("step {}", step + 1)));
  }
  std::printf("whole steps: worst difference %.2e of the peak rate\n", worst / kPeak);
}

class WholeStepOf : public testing::TestWithParam<OptimiserKind> {};

TEST_P(WholeStepOf, PretrainingMovesTheWeightsAsTheReferenceDoes) {
  expect_reference_steps(GetParam(), random_batches, joined);
}

TEST(WholeStep, FineTuningMovesTheWeightsAsTheReferenceDoes) {
  expect_reference_steps(OptimiserKind::kMuon, packed_batches(), from_documents);
}

INSTANTIATE_TEST_SUITE_P(Optimisers, WholeStepOf,
                         testing::Values(OptimiserKind::kAdamW, OptimiserKind::kMuon));

}  // namespace
}  // namespace dure
