#include "quantise/calibrate.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "formats/tensor_names.h"
#include "model/document_kv.h"
#include "model/layer.h"
#include "model/model.h"

namespace dure {
namespace {

using enum TensorRole;
constexpr int64_t kColumnsAtATime = 64;

class Collector : public LayerObserver {
 public:
  Collector(const ModelConfig& config, ImportanceMatrix& out, Stream& stream)
      : config_(config), out_(out), stream_(stream) {}

  void layer_done(int64_t layer, const LayerActivations& a) override {
    const LayerFacts& facts = config_.layer(layer);
    add({kQ, kK, kV}, layer, a.h);
    add({kO}, layer, flat_rows(a.attended));
    if (!facts.sparse) {
      add({kGate, kUp}, layer, a.h_mid);
      add({kDown}, layer, a.dense.h);
      return;
    }
    const std::span<const int64_t> offsets = a.moe.offset_span();
    add_experts({kExpertGate, kExpertUp}, layer, a.moe.inputs, offsets);
    add_experts({kExpertDown}, layer, a.moe.ffn.h, offsets);
    if (config_.shared_expert_count == 0) return;
    add({kSharedGate, kSharedUp}, layer, a.h_mid);
    add({kSharedDown}, layer, a.moe.shared.h);
  }

  void add(std::initializer_list<TensorRole> roles, int64_t layer, TensorView rows) {
    const int64_t all[] = {0, rows.dim(0)};
    add_experts(roles, layer, rows, all);
  }

 private:
  ImportanceEntry& entry(TensorRole role, int64_t layer, int64_t matrices, int64_t columns) {
    ImportanceEntry& e = out_.entries[gguf_name({role, layer, -1}, config_)];
    if (e.squares.empty()) {
      e.matrices = matrices, e.columns = columns;
      e.squares.assign(static_cast<size_t>(matrices * columns), 0);
      e.counts.assign(static_cast<size_t>(matrices), 0);
    }
    return e;
  }

  // rows: [R, K], matrix m reads rows [offsets[m], offsets[m+1]).
  void add_experts(std::initializer_list<TensorRole> roles, int64_t layer, TensorView rows,
                   std::span<const int64_t> offsets) {
    const int64_t matrices = std::ssize(offsets) - 1, columns = rows.shape.back();
    ImportanceEntry& first = entry(*roles.begin(), layer, matrices, columns);
    for (int64_t m = 0; m < matrices; ++m) {
      const auto i = static_cast<size_t>(m);
      add_squares(rows.rows(offsets[i], offsets[i + 1] - offsets[i]),
                  first.squares.data() + m * columns);
      first.counts[i] += static_cast<double>(offsets[i + 1] - offsets[i]);
    }
    for (const TensorRole role : roles) {
      if (role != *roles.begin()) entry(role, layer, matrices, columns) = first;
    }
  }

  void add_squares(TensorView rows, double* sums) {
    const int64_t columns = rows.shape.back(), count = rows.dim(0);
    const float* x = rows.f32();
    stream_.threads().parallel_for(
        (columns + kColumnsAtATime - 1) / kColumnsAtATime, [&](int64_t part, int) {
          const int64_t begin = part * kColumnsAtATime,
                        end = std::min(columns, begin + kColumnsAtATime);
          for (int64_t r = 0; r < count; ++r) {
            for (int64_t k = begin; k < end; ++k) {
              const double value = static_cast<double>(x[r * columns + k]);
              sums[k] += value * value;
            }
          }
        });
  }

  const ModelConfig& config_;
  ImportanceMatrix& out_;
  Stream& stream_;
};

int64_t plan_bytes(const ModelConfig& config, const ActivationPlan& plan) {
  Arena arena;
  Activations(config, plan, arena);
  return arena.peak_bytes();
}

class Calibration {
 public:
  Calibration(const ModelWeights& weights, int64_t rows_max, ImportanceMatrix& out, Stream& stream)
      : weights_(weights),
        stream_(stream),
        plan_{.rows_max = rows_max, .mtp = weights.config.mtp_layer_count > 0},
        arena_(plan_bytes(weights.config, plan_)),
        activations_(weights.config, plan_, arena_),
        collector_(weights.config, out, stream),
        positions_(static_cast<size_t>(rows_max)) {
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  void run(std::span<const int32_t> ids) {
    const int64_t rows = std::ssize(ids);
    kv_.set_documents({&rows, 1});
    forward(weights_, {ids, std::span(positions_).first(ids.size())}, kv_, activations_, stream_,
            &collector_);
    const TensorRole head = weights_.config.tied_embeddings ? kEmbedding : kHead;
    collector_.add({head}, -1, activations_.hidden());
    if (plan_.mtp) run_mtp(ids.subspan(1));
  }

 private:
  // Row t reads the hidden state of t and the embedding of t + 1.
  void run_mtp(std::span<const int32_t> next) {
    const int64_t rows = std::ssize(next), layer = weights_.config.layer_count();
    kv_.set_documents({&rows, 1});
    forward_mtp(weights_, activations_.hidden().rows(0, rows),
                {next, std::span(positions_).first(next.size())}, kv_, activations_, stream_);
    collector_.add({kMtpFc}, layer, activations_.mtp().joined);
    collector_.layer_done(layer, activations_.mtp().layer);
  }

  const ModelWeights& weights_;
  Stream& stream_;
  ActivationPlan plan_;
  Arena arena_;
  Activations activations_;
  DocumentKv kv_{1};
  Collector collector_;
  std::vector<int32_t> positions_;
};

}  // namespace

ImportanceMatrix calibrate(const ModelWeights& weights, std::span<const int32_t> ids,
                           const CalibrateOptions& options, Stream& stream,
                           const std::function<void(int64_t)>& progress) {
  DURE_CHECK(options.chunk_tokens >= 2, "chunks of {} tokens", options.chunk_tokens);
  if (ids.size() < 2)
    fail(ErrorCode::kInvalidArgument, "the text has {} tokens; two at least are needed",
         ids.size());
  ImportanceMatrix out;
  out.chunk_tokens = std::min(options.chunk_tokens, std::ssize(ids));
  Calibration calibration(weights, out.chunk_tokens, out, stream);
  for (int64_t first = 0; std::ssize(ids) - first >= 2; first += out.chunk_tokens) {
    if (options.chunks_max > 0 && out.chunk_count == options.chunks_max) break;
    throw_if_interrupted("nothing was written");
    const int64_t count = std::min(out.chunk_tokens, std::ssize(ids) - first);
    calibration.run(ids.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    ++out.chunk_count;
    progress(first + count);
  }
  return out;
}

}  // namespace dure
