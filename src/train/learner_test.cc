// What a learner does with counts, layer by layer and update by update.
#include "train/learner.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tensor/cpu_stream.h"
#include "train/reference_fixture.h"

namespace dure {
namespace {

// Three sparse layers among dense ones.
ModelConfig several_sparse_layers() {
  ModelConfig c = small_model();
  const LayerFacts dense = c.layers[0], sparse = c.layers[1];
  c.layers = {dense, sparse, dense, sparse, sparse};
  return c;
}

TEST(Learner, EverySparseLayersBiasFollowsItsOwnLoadSinceTheLastUpdate) {
  CpuStream stream;
  const ModelConfig config = several_sparse_layers();
  Learner learner(config, {.pass = {.rows_max = 16}, .router_bias_rate = 0.01}, stream);
  learner.parameters().initialise(3, stream);
  Rng rng(4);
  for (int update = 0; update < 3; ++update) {
    std::vector<int64_t> counts(learner.expert_counts().size());
    for (int batch = 0; batch < 2; ++batch) {
      std::vector<int32_t> ids;
      for (int t = 0; t < 15; ++t) ids.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
      const std::vector<int32_t> targets(ids.rbegin(), ids.rend());
      const std::vector<int64_t> lengths = {15};
      const LossResult& result =
          learner.accumulate({.ids = ids, .targets = targets, .document_lengths = lengths}, {});
      for (size_t i = 0; i < counts.size(); ++i) counts[i] += result.expert_counts[i];
    }
    const ref::WeightTable before = table_of(learner);
    learner.update(0.01, "test");
    const ref::WeightTable after = table_of(learner);
    for (const Parameter& p : learner.parameters().list()) {
      if (p.kind != TensorKind::kRouterBias) continue;
      const auto layer = counts_of_layer(counts, config, p.id.layer);
      for (size_t e = 0; e < layer.size(); ++e) {
        // 15 rows, 2 batches, 2 experts each of 4: 15 on average.
        const double wanted = layer[e] < 15 ? 0.01 : layer[e] > 15 ? -0.01 : 0;
        EXPECT_NEAR(after.at(p.name)[e] - before.at(p.name)[e], wanted, 1e-6)
            << p.name << " " << e << ", update " << update;
      }
    }
  }
}

}  // namespace
}  // namespace dure
