// The scorer against the trainer's pass: the same bits for any chunk, company and threads.
#include "engine/scorer.h"

#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

std::vector<std::vector<int32_t>> random_sequences(int count) {
  std::vector<std::vector<int32_t>> all;
  for (int i = 0; i < count; ++i) {
    Rng rng(12, static_cast<uint64_t>(i));
    std::vector<int32_t> ids(static_cast<size_t>(rng.between(1, i % 5 == 0 ? 300 : 40)));
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(97));
    all.push_back(ids);
  }
  return all;
}

struct Scored {
  std::vector<std::vector<float>> log_probability;  // of each sequence's rows
  std::vector<std::vector<float>> logits;
};

Scored score(Model& model, const std::vector<std::vector<int32_t>>& sequences,
             const ScorerOptions& options) {
  Scorer scorer(model.weights, options, model.stream);
  Scored out;
  out.log_probability.resize(sequences.size());
  out.logits.resize(sequences.size());
  std::vector<std::span<const int32_t>> spans(sequences.begin(), sequences.end());
  size_t last = 0;
  scorer.score(spans, [&](const ScoredRows& rows) {
    EXPECT_GE(rows.sequence, last) << "sequences ascend";
    last = rows.sequence;
    std::vector<float>& p = out.log_probability[rows.sequence];
    EXPECT_EQ(rows.first_position, std::ssize(p)) << "rows ascend";
    p.insert(p.end(), rows.log_probability.begin(), rows.log_probability.end());
    std::vector<float>& l = out.logits[rows.sequence];
    l.insert(l.end(), rows.logits.begin(), rows.logits.end());
  });
  return out;
}

TEST(Scorer, IsTheTrainersBitForBit) {
  Model model;
  const auto sequences = random_sequences(12);
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  for (const auto& sequence : sequences) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    targets.insert(targets.end(), sequence.begin() + 1, sequence.end());
    targets.push_back(kIgnore);
    lengths.push_back(std::ssize(sequence));
  }
  TrainPass pass(model.config, {.rows_max = std::ssize(ids), .mtp = false});
  pass.forward(model.weights, {.ids = ids, .targets = targets, .document_lengths = lengths},
               model.stream);
  pass.token_log_probabilities(false, model.stream);
  const Scored scored = score(model, sequences, {.sequence_tokens_max = 300, .chunk_tokens = 33});
  size_t row = 0;
  for (const std::vector<float>& sequence : scored.log_probability) {
    for (const float p : sequence) ASSERT_EQ(p, pass.log_probability()[row++]);
  }
  EXPECT_EQ(row, ids.size());
}

TEST(Scorer, ChunksCompanyAndThreadsChangeNoBit) {
  Model one, three(tiny_config(), 3);
  const auto sequences = random_sequences(20);
  const Scored wanted =
      score(one, sequences, {.sequence_tokens_max = 300, .chunk_tokens = 600, .sequences_max = 20});
  for (const int64_t chunk : {1, 7, 64, 300}) {
    for (const int64_t together : {1, 3, 64}) {
      const ScorerOptions options{
          .sequence_tokens_max = 300, .chunk_tokens = chunk, .sequences_max = together};
      const Scored got = score(chunk == 7 ? three : one, sequences, options);
      EXPECT_EQ(got.log_probability, wanted.log_probability) << chunk << " by " << together;
      EXPECT_EQ(got.logits, wanted.logits) << chunk << " by " << together;
    }
  }
}

TEST(Scorer, NeedsTheMemoryOfAChunk) {
  const ModelConfig config = tiny_config();
  const int64_t short_text = Scorer::plan_bytes(config, {.sequence_tokens_max = 1000}),
                long_text = Scorer::plan_bytes(config, {.sequence_tokens_max = 100'000});
  // What grows is the global layer's keys and values, and its table of pages.
  const int64_t row = 2 * config.kv_head_count * config.head_width * 4;
  EXPECT_LE(long_text - short_text, 99'000 * row + 2 * 64 * row + 64 * 4 * 99'000 / 64 + 4096);
}

}  // namespace
}  // namespace dure
