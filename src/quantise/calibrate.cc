// An observer of the forward sums the squares of what each matrix reads, by a kernel. What the
// observer is not shown (the head, the MTP layer) is added after the pass.
#include "quantise/calibrate.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "formats/tensor_names.h"
#include "kernels/rows.h"
#include "model/document_kv.h"
#include "model/layer.h"
#include "model/model.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

using enum TensorRole;

class Collector : public LayerObserver {
 public:
  Collector(const ModelConfig& config, ImportanceMatrix& out, Stream& stream)
      : config_(config),
        out_(out),
        stream_(stream),
        all_rows_(2, stream.device()),
        host_offsets_(config.expert_count_max() + 1, stream.device()) {}

  void layer_done(int64_t layer, const LayerActivations& a) override {
    const LayerFacts& facts = config_.layer(layer);
    const ConstTensorView ffn = ffn_input(facts, a);
    add({kQ, kK, kV}, layer, attention_input(facts, a));
    add({kO}, layer, flat_rows(a.attended));
    if (!facts.sparse) {
      add({kGate, kUp}, layer, ffn);
      add({kDown}, layer, a.dense.h);
      return;
    }
    add_groups({kExpertGate, kExpertUp}, layer, a.moe.inputs, a.moe.offsets);
    add_groups({kExpertDown}, layer, a.moe.ffn.h, a.moe.offsets);
    if (!facts.has_shared_expert()) return;
    add({kSharedGate, kSharedUp}, layer, ffn);
    add({kSharedDown}, layer, a.moe.shared.h);
  }

  void add(std::initializer_list<TensorRole> roles, int64_t layer, ConstTensorView rows) {
    all_rows_.clear();
    all_rows_.push_back(0);
    all_rows_.push_back(rows.dim(0));
    add_groups(roles, layer, rows, all_rows_.on(stream_));
  }

 private:
  ImportanceEntry& entry(TensorRole role, int64_t layer, int64_t matrices, int64_t columns) {
    ImportanceEntry& e = out_.entries[gguf_name({role, layer, -1}, config_)];
    if (e.squares.empty()) {
      e.matrices = matrices;
      e.columns = columns;
      e.squares.assign(static_cast<size_t>(matrices * columns), 0);
      e.counts.assign(static_cast<size_t>(matrices), 0);
    }
    return e;
  }

  // rows: [R, K], matrix m reads rows [offsets[m], offsets[m+1]).
  void add_groups(std::initializer_list<TensorRole> roles, int64_t layer, ConstTensorView rows,
                  ConstTensorView offsets) {
    const int64_t matrices = offsets.elements() - 1, columns = rows.shape.back();
    ImportanceEntry& first = entry(*roles.begin(), layer, matrices, columns);
    const Shape shape{matrices, columns};
    if (sums_.bytes() < 8 * shape.elements())
      sums_ = Buffer::of(DType::kF64, shape, stream_.device());
    const TensorView sums = sums_.view(DType::kF64, shape);
    copy_from_host(std::span<const double>(first.squares), sums, stream_);
    add_squares(rows, offsets, sums, stream_);
    HostCopy<double> host_sums(shape.elements(), stream_.device());
    const std::span<const double> added = host_sums.of(sums, stream_);
    first.squares.assign(added.begin(), added.end());
    const std::span<const int64_t> bounds = host_offsets_.of(offsets, stream_);
    for (size_t m = 0; m < first.counts.size(); ++m)
      first.counts[m] += static_cast<double>(bounds[m + 1] - bounds[m]);
    for (const TensorRole role : roles) {
      if (role != *roles.begin()) entry(role, layer, matrices, columns) = first;
    }
  }

  const ModelConfig& config_;
  ImportanceMatrix& out_;
  Stream& stream_;
  HostArray<int64_t> all_rows_;
  HostCopy<int64_t> host_offsets_;
  Buffer sums_;
};

int64_t bytes_for(const ModelConfig& config, const ActivationOptions& options) {
  Arena arena;
  Activations(config, options, arena);
  return arena.peak_bytes();
}

class Calibration {
 public:
  Calibration(const ModelWeights& weights, int64_t rows_max, ImportanceMatrix& out, Stream& stream)
      : weights_(weights),
        stream_(stream),
        activation_options_{
            .rows_max = rows_max, .mtp = weights.config.mtp_layer_count > 0, .observed = true},
        arena_(bytes_for(weights.config, activation_options_), stream.device()),
        activations_(weights.config, activation_options_, arena_),
        collector_(weights.config, out, stream),
        ids_(rows_max, stream.device()),
        positions_(rows_max, stream.device()) {
    for (int64_t p = 0; p < rows_max; ++p) positions_.push_back(static_cast<int32_t>(p));
  }

  void run(std::span<const int32_t> ids) {
    const int64_t rows = std::ssize(ids);
    kv_.set_documents({&rows, 1});
    forward(weights_, rows_of(ids), kv_, activations_, stream_, &collector_);
    const TensorRole head = weights_.config.tied_embeddings ? kEmbedding : kHead;
    collector_.add({head}, -1, activations_.hidden());
    if (activation_options_.mtp) run_mtp(ids.subspan(1));
  }

 private:
  // Row t reads the hidden state of t and the embedding of t + 1.
  void run_mtp(std::span<const int32_t> next) {
    const int64_t rows = std::ssize(next), layer = weights_.config.layer_count();
    kv_.set_documents({&rows, 1});
    forward_mtp(weights_, activations_.hidden().rows(0, rows), rows_of(next), kv_, activations_,
                stream_);
    collector_.add({kMtpFc}, layer, activations_.mtp().joined);
    collector_.layer_done(layer, activations_.mtp().layer);
  }

  RowBatch rows_of(std::span<const int32_t> ids) {
    ids_.assign(ids);
    return {ids_.on(stream_), positions_.on(stream_).rows(0, std::ssize(ids))};
  }

  const ModelWeights& weights_;
  Stream& stream_;
  ActivationOptions activation_options_;
  Arena arena_;
  Activations activations_;
  DocumentKv kv_{1};
  Collector collector_;
  HostArray<int32_t> ids_, positions_;
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
  const InterruptScope scope;
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
