// The least largest cost over all cuts, by the best cut of the first layers into fewer stages.
#include "train/stage_cut.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/error.h"

namespace dure {
namespace {

// Of the stages' costs, sums before each layer; the ends are added where they lie.
struct Costs {
  std::vector<int64_t> before{0};
  int64_t last = 0;  // of the last stage beside its layers
  int64_t of(size_t begin, size_t end) const {
    return before[end] - before[begin] + (end + 1 == before.size() ? last : 0);
  }
};

Costs costs_of(const ModelConfig& config, bool mtp) {
  Costs costs;
  for (const LayerFacts& facts : config.layers)
    costs.before.push_back(costs.before.back() + layer_cost(config, facts));
  const int64_t d = config.hidden_size, head = config.vocab_size * d;
  costs.last = head;
  if (mtp && config.mtp_layer_count > 0)
    costs.last += head + 2 * d * d + layer_cost(config, config.mtp_layer);
  return costs;
}

}  // namespace

int64_t layer_cost(const ModelConfig& config, const LayerFacts& facts) {
  const int64_t d = config.hidden_size, h = config.head_width;
  const int64_t attention = d * h * (2 * config.head_count + 2 * config.kv_head_count);
  if (!facts.sparse) return attention + 3 * d * facts.dense_width;
  const ExpertFacts& e = facts.experts;
  return attention + d * e.count + 3 * d * (e.per_token * e.width + e.shared_width());
}

std::vector<int64_t> cut_layers(const ModelConfig& config, int64_t stages, bool mtp) {
  const auto count = static_cast<size_t>(config.layer_count());
  DURE_CHECK(1 <= stages && stages <= config.layer_count(), "{} stages of {} layers", stages,
             count);
  const Costs costs = costs_of(config, mtp);
  // least[n]: the largest cost of the first n layers in the stages so far; from[s][n]: where the
  // last of them begins.
  std::vector<int64_t> least(count + 1, INT64_MAX);
  std::vector<std::vector<size_t>> from(static_cast<size_t>(stages),
                                        std::vector<size_t>(count + 1));
  for (size_t n = 1; n <= count; ++n) least[n] = costs.of(0, n);
  for (size_t s = 1; s < from.size(); ++s) {
    std::vector<int64_t> next(count + 1, INT64_MAX);
    for (size_t n = s + 1; n <= count; ++n) {
      for (size_t begin = s; begin < n; ++begin) {
        const int64_t largest = std::max(least[begin], costs.of(begin, n));
        if (largest >= next[n]) continue;
        next[n] = largest;
        from[s][n] = begin;
      }
    }
    least = std::move(next);
  }
  std::vector<int64_t> layers(from.size());
  size_t end = count;
  for (size_t s = from.size(); s-- > 0;) {
    const size_t begin = s == 0 ? 0 : from[s][end];
    layers[s] = static_cast<int64_t>(end - begin);
    end = begin;
  }
  return layers;
}

std::vector<int64_t> stage_layers(const RankOptions& ranks, const ModelConfig& config, bool mtp,
                                  const std::string& source) {
  const int64_t stages = ranks.pipeline;
  if (stages == 1 && ranks.layers.empty()) return {};
  if (stages > 1 && config.tied_embeddings)
    fail(ErrorCode::kUnsupported,
         "{}: ranks.pipeline is {}, but the model's head is its embedding (tie_word_embeddings), "
         "which the first stage and the last would share; give its ranks to ranks.data",
         source, stages);
  if (stages > config.layer_count())
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks.pipeline is {}, but the model has {} layers, and a stage at least one: set it "
         "to {} or less",
         source, stages, config.layer_count(), config.layer_count());
  if (ranks.layers.empty()) return cut_layers(config, stages, mtp);
  const int64_t sum = std::reduce(ranks.layers.begin(), ranks.layers.end());
  const bool fits = std::ssize(ranks.layers) == stages && sum == config.layer_count() &&
                    std::ranges::all_of(ranks.layers, [](int64_t n) { return n >= 1; });
  if (!fits)
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks.layers has {} stages with {} layers together; ranks.pipeline is {} and the "
         "model has {} layers, at least one a stage: leave it away for an even cut",
         source, ranks.layers.size(), sum, stages, config.layer_count());
  return ranks.layers;
}

Holding stage_holding(const StagePlace& stage, const std::vector<int64_t>& layers) {
  if (stage.count == 1) return {};
  DURE_CHECK(std::ssize(layers) == stage.count, "{} of {} stages", layers.size(), stage.count);
  const auto before = layers.begin() + stage.index;
  const int64_t begin = std::reduce(layers.begin(), before);
  return {.layer_begin = begin,
          .layer_end = begin + *before,
          .embedding = stage.is_first(),
          .head = stage.is_last(),
          .mtp = stage.is_last()};
}

Holding sampled_holding(const StagePlace& stage, const std::vector<int64_t>& layers) {
  Holding holding = stage_holding(stage, layers);
  holding.mtp = false;
  return holding;
}

}  // namespace dure
