// A cache of one sequence, rewound after every pass.
#include "engine/verify_cost.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "engine/kv_cache.h"
#include "kernels/rows.h"
#include "model/model.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kFillRows = 256;

int64_t rows_max(const VerifyCostOptions& o) {
  return *std::max_element(o.rows.begin(), o.rows.end());
}
int64_t pass_rows_max(const VerifyCostOptions& o) { return std::max(kFillRows, rows_max(o)); }

KvCacheOptions cache_options(const VerifyCostOptions& o) {
  return {.context_tokens_max = o.depth_tokens + rows_max(o),
          .append_tokens_max = pass_rows_max(o),
          .dtype = o.kv_dtype};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Passes {
 public:
  Passes(const ModelWeights& weights, const VerifyCostOptions& o, Stream& stream)
      : weights_(weights),
        stream_(stream),
        cache_(weights.config, cache_options(o), stream),
        kv_(cache_),
        arena_(arena_bytes(weights.config, o, weights.adapter_rank()), stream.device()),
        activations_(weights.config,
                     {.rows_max = pass_rows_max(o), .adapter_rank = weights.adapter_rank()},
                     arena_),
        chosen_(arena_.take_f32({rows_max(o), weights.config.hidden_size})),
        logits_(arena_.take_f32({rows_max(o), weights.config.vocab_size})),
        ids_(pass_rows_max(o), stream.device()),
        positions_(pass_rows_max(o), stream.device()),
        index_(rows_max(o), stream.device()),
        host_logits_(logits_.elements(), stream.device()),
        random_(o.seed, stream_id("verify cost")),
        slot_(cache_.open()) {
    for (int64_t left = o.depth_tokens; left > 0; left -= std::min(left, kFillRows))
      feed(std::min(left, kFillRows));
    depth_ = o.depth_tokens;
  }

  double pass_ns(int64_t rows) {
    const auto start = Clock::now();
    feed(rows);
    index_.clear();
    for (int64_t i = 0; i < rows; ++i) index_.push_back(static_cast<int32_t>(i));
    gather_rows(activations_.hidden(), index_.on(stream_), chosen_.rows(0, rows), stream_);
    head_logits(weights_, chosen_.rows(0, rows), logits_.rows(0, rows), stream_,
                {.inner = activations_.adapter_inner()});
    host_logits_.of(logits_.rows(0, rows), stream_);
    const std::chrono::duration<double, std::nano> taken = Clock::now() - start;
    DURE_CHECK(cache_.rewind(slot_, depth_), "a ring forgot rows before {}", depth_);
    return taken.count();
  }

 private:
  static int64_t arena_bytes(const ModelConfig& config, const VerifyCostOptions& o,
                             int64_t adapter_rank) {
    Arena plan;
    Activations(config, {.rows_max = pass_rows_max(o), .adapter_rank = adapter_rank}, plan);
    plan.take_f32({rows_max(o), config.hidden_size});
    plan.take_f32({rows_max(o), config.vocab_size});
    return plan.used_bytes();
  }

  void feed(int64_t rows) {
    const int64_t first = cache_.length(slot_);
    ids_.clear();
    positions_.clear();
    for (int64_t i = 0; i < rows; ++i) {
      ids_.push_back(static_cast<int32_t>(random_.below(weights_.config.vocab_size)));
      positions_.push_back(static_cast<int32_t>(first + i));
    }
    const bool reserved = cache_.reserve(slot_, rows);
    DURE_CHECK(reserved, "{} rows behind {} have no room", rows, first);
    const BatchKv::Run run{.slot = slot_, .row_count = rows, .first_position = first};
    kv_.set_runs({&run, 1}, stream_);
    forward(weights_, {.ids = ids_.on(stream_), .positions = positions_.on(stream_)}, kv_,
            activations_, stream_);
    kv_.commit();
  }

  const ModelWeights& weights_;
  Stream& stream_;
  KvCache cache_;
  BatchKv kv_;
  Arena arena_;
  Activations activations_;
  TensorView chosen_, logits_;
  HostArray<int32_t> ids_, positions_, index_;
  HostCopy<float> host_logits_;
  Rng random_;
  int slot_;
  int64_t depth_ = 0;
};

double bytes_of(const ModelWeights& weights, const VerifyCostOptions& o, int64_t rows) {
  const Work work = forward_work(weights, {.rows_each = rows,
                                           .first_position = o.depth_tokens,
                                           .head_rows = rows,
                                           .kv_dtype = o.kv_dtype});
  return work.weight_bytes + work.kv_bytes;
}

}  // namespace

double VerifyCost::gain(double acceptance) const {
  double tokens = 0, reach = 1;
  for (int64_t i = 0; i < rows; ++i) {
    tokens += reach;
    reach *= acceptance;
  }
  return tokens / ratio;
}

double VerifyCost::break_even() const {
  if (gain(1) <= 1) return 1;
  double low = 0, high = 1;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (gain(middle) > 1 ? high : low) = middle;
  }
  return high;
}

int64_t verify_cost_passes(const VerifyCostOptions& o) {
  return (1 + std::ssize(o.rows)) * (1 + o.repetitions);
}

std::vector<VerifyCost> measure_verify_cost(const ModelWeights& weights, const VerifyCostOptions& o,
                                            Stream& stream,
                                            const std::function<void(int64_t)>& progress) {
  DURE_CHECK(!o.rows.empty() && o.depth_tokens >= 0 && o.repetitions >= 1);
  const int64_t reach = o.depth_tokens + rows_max(o);
  if (reach > weights.config.context_tokens)
    fail(ErrorCode::kInvalidArgument, "{} rows behind {} tokens: the model's context is {}",
         rows_max(o), o.depth_tokens, weights.config.context_tokens);
  const InterruptScope scope;
  std::vector<VerifyCost> out(1);
  for (const int64_t rows : o.rows) out.push_back({.rows = rows});
  Passes passes(weights, o, stream);
  std::vector<std::vector<double>> ns(out.size());
  int64_t made = 0;
  for (int64_t r = 0; r <= o.repetitions; ++r) {
    for (size_t i = 0; i < out.size(); ++i) {
      throw_if_interrupted("nothing is printed");
      const double one = passes.pass_ns(out[i].rows);
      if (r > 0) ns[i].push_back(one);  // The first of each warms up.
      progress(++made);
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].median_ns = median(ns[i]);
    std::vector<double> ratios;
    for (size_t r = 0; r < ns[i].size(); ++r) ratios.push_back(ns[i][r] / ns[0][r]);
    out[i].ratio = median(ratios);
    out[i].byte_ratio = bytes_of(weights, o, out[i].rows) / bytes_of(weights, o, 1);
  }
  return out;
}

}  // namespace dure
