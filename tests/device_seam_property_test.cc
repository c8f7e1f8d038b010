// The device seam, run: training, sampling with drafts and scoring on a device whose memory only
// kernels can touch (tensor/fenced_stream.h) give the bits of the CPU. A read or write of tensor
// memory above kernels/ ends this program with a fault.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "engine/generator.h"
#include "engine/scorer.h"
#include "formats/config_fixture.h"
#include "model/load.h"
#include "tensor/fenced_stream.h"
#include "train/learner.h"

namespace dure {
namespace {

// mixed: a post-norm layer too, which no file can say.
ModelConfig tiny(bool mixed = false) {
  ModelConfig c = tiny_config(61, 5);
  if (mixed) c.layers[2].norm_order = NormOrder::kPost;
  return c;
}

std::vector<int32_t> random_ids(int64_t count, uint64_t stream) {
  Rng rng(8, stream);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(rng.below(61)));
  return ids;
}

// Everything a step of training leaves.
struct Trained {
  std::vector<double> losses, norms;
  std::vector<int64_t> counts;
  std::vector<float> weights, log_probabilities;
};

std::vector<float> values_of(TensorView flat, Stream& stream) {
  HostCopy<float> copy(flat.elements(), stream.device());
  const auto values = copy.of(flat, stream);
  return {values.begin(), values.end()};
}

// A checkpoint and a released folder, written from the device and read again.
void expect_round_trip(Learner& learner, const LearnerOptions& options, Stream& stream) {
  const TemporaryFolder folder;
  CheckpointStore store(folder.path() / "checkpoints", 1);
  CheckpointContent content;
  learner.save(content);
  const Checkpoint checkpoint(store.save(content));
  learner.export_result(folder.path(), {});
  Learner again(tiny(), options, stream), released(tiny(), options, stream);
  again.load(checkpoint);
  load_parameters(ModelFiles(folder.path() / "model"), released.parameters(), stream);
  const auto wanted = values_of(learner.parameters().flat(), stream);
  EXPECT_EQ(values_of(again.parameters().flat(), stream), wanted);
  EXPECT_EQ(values_of(released.parameters().flat(), stream), wanted);
}

Trained train(Stream& stream, bool recompute) {
  LearnerOptions options;
  options.pass = {.rows_max = 96, .recompute = recompute};
  options.router_bias_rate = 1e-2;
  Learner learner(tiny(recompute), options, stream);
  learner.parameters().initialise(3, stream);
  Trained out;
  for (uint64_t step = 0; step < 3; ++step) {
    for (uint64_t part = 0; part < 2; ++part) {
      const std::vector<int32_t> ids = random_ids(90, 10 * step + part);
      std::vector<int32_t> targets(ids.begin() + 1, ids.end());
      targets.push_back(kIgnore);
      for (size_t t = 0; t < targets.size(); t += 7) targets[t] = kIgnore;  // rows to gather
      const std::vector<int64_t> lengths = {40, 1, 49};
      const LossResult& result = learner.accumulate(
          {.ids = ids, .targets = targets, .document_lengths = lengths},
          {.mtp_coefficient = 0.3, .balance_coefficient = 0.1, .want_entropy = true});
      out.losses.insert(out.losses.end(),
                        {result.loss_sum, result.mtp_loss_sum, result.balance_loss});
      const auto p = learner.pass().log_probability();
      out.log_probabilities.insert(out.log_probabilities.end(), p.begin(), p.end());
    }
    const auto counts = learner.expert_counts();
    out.counts.insert(out.counts.end(), counts.begin(), counts.end());
    out.norms.push_back(learner.update(1e-2, "step").gradient_norm);
  }
  if (!recompute) expect_round_trip(learner, options, stream);
  const TensorView flat = learner.parameters().flat();
  out.weights = values_of(flat, stream);
  return out;
}

TEST(DeviceSeam, TrainingTouchesNoTensorFromAbove) {
  for (const bool recompute : {false, true}) {
    CpuStream cpu(2);
    FencedStream fenced(2);
    const Trained a = train(cpu, recompute), b = train(fenced, recompute);
    EXPECT_EQ(a.losses, b.losses);
    EXPECT_EQ(a.norms, b.norms);
    EXPECT_EQ(a.counts, b.counts);
    EXPECT_EQ(a.weights, b.weights);
    EXPECT_EQ(a.log_probabilities, b.log_probabilities);
  }
}

struct Sampled {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> log_probabilities;
  std::vector<float> scores, logits;
};

Sampled sample(Stream& stream, const GeneratorOptions& options) {
  ModelConfig config = tiny();
  config.head_width = 32;  // so that every type of keys fits
  Parameters parameters(config, stream.device());
  parameters.initialise(5, stream);
  const ModelWeights weights = bind_weights(parameters, stream);
  Generator generator(weights, options, stream);
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 6; ++i) {
    GenerationRequest request{.prompt = random_ids(5 + 30 * static_cast<int64_t>(i), 100 + i),
                              .new_tokens_max = 40};
    request.sampling.temperature = i % 2 == 0 ? 0 : 1;
    request.sampling.repetition_penalty = i == 3 ? 1.2 : 1;
    request.stream = i;
    requests.push_back(request);
  }
  Sampled out;
  for (const Generation& g : generator.run(requests)) {
    out.tokens.push_back(g.tokens);
    out.log_probabilities.push_back(g.log_probabilities);
  }
  Scorer scorer(weights, {.sequence_tokens_max = 300, .chunk_tokens = 64}, stream);
  std::vector<std::span<const int32_t>> sequences;
  for (const GenerationRequest& request : requests) sequences.push_back(request.prompt);
  scorer.score(sequences, [&](const ScoredRows& rows) {
    out.scores.insert(out.scores.end(), rows.log_probability.begin(), rows.log_probability.end());
    out.logits.insert(out.logits.end(), rows.logits.begin(), rows.logits.end());
  });
  return out;
}

TEST(DeviceSeam, SamplingDraftingAndScoringTouchNoTensorFromAbove) {
  for (const DType kv_dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    for (const int64_t drafts : {0, 3}) {
      if (kv_dtype == DType::kQ8_0 && drafts == 0) continue;  // The fence is slow.
      const GeneratorOptions options{.sequences_max = 4,
                                     .context_tokens_max = 300,
                                     .batch_rows_max = 48,
                                     .chunk_tokens_max = 20,
                                     .kv_dtype = kv_dtype,
                                     .draft_tokens_max = drafts};
      CpuStream cpu(2);
      FencedStream fenced(2);
      const Sampled a = sample(cpu, options), b = sample(fenced, options);
      EXPECT_EQ(a.tokens, b.tokens);
      EXPECT_EQ(a.log_probabilities, b.log_probabilities);
      EXPECT_EQ(a.scores, b.scores);
      EXPECT_EQ(a.logits, b.logits);
    }
  }
}

}  // namespace
}  // namespace dure
