// engine/drafter.h: tokens ahead of the model: the MTP layer run as a draft head, chained to any
// length.
//
// After each forward of the model it first runs the MTP layer over the rows that were kept (hidden
// state of t, token t+1), with its own keys and values; the last row of a decoding sequence gives
// the first draft. Each further draft takes one more row: the layer's own result as the hidden
// state, the draft before as the token. Those rows are overwritten by the true ones once the model
// has spoken. Not here: which drafts stand (speculation.h, generator.cc).
#pragma once

#include <span>
#include <vector>

#include "engine/sequence.h"

namespace dure {

// Symbols: S sequences, N the longest draft, D hidden width, V vocabulary.
struct DraftBuffers {
  TensorView hidden;  // [S, D] of the rows that go on
  TensorView logits;  // [N * S, V]: kept until the drafts are judged
};
DraftBuffers lay_out_drafts(const ModelConfig& config, const GeneratorOptions& options,
                            Arena& arena);

// Rows [first_row, first_row + sequence->fed - first_position) of the model's forward were kept.
struct FedRun {
  Sequence* sequence = nullptr;
  int64_t first_row = 0, first_position = 0;
};

class Drafter {
 public:
  // Everything given must outlive it. The weights have an MTP layer, the cache and the activations
  // room for it.
  Drafter(const ModelWeights& weights, const GeneratorOptions& options, KvCache& cache,
          Activations& activations, const DraftBuffers& buffers, Stream& stream);

  // Drafts for every sequence of the forward that goes on to decode. `fed` by first_row; those that
  // no longer run are left out. activations.hidden() is that of the forward; used up. A draft that
  // cannot be drawn (logits that are not finite, a mask that throws) is none: the model's own row
  // decides what becomes of the request.
  void run(std::span<const FedRun> fed);

  // Uniform numbers of draft and judgement of a request's token i, apart from those of sampling.
  struct Uniforms {
    double draft = 0, accept = 0;
  };
  static Uniforms uniforms(const GenerationRequest& request, int64_t token_index);

 private:
  struct Link {
    Sequence* sequence = nullptr;
    int64_t row = 0;  // of activations.mtp().y
  };
  // A row of the next forward: its token (the hidden state's next), and where the hidden state
  // lies.
  struct Row {
    int32_t token = 0;
    int64_t position = 0, from_row = 0;
  };
  void start_rows();
  void add_row(const Row& row);
  void catch_up(std::span<const FedRun> fed);
  int64_t wanted(const Sequence& sequence) const;  // drafts
  void draw(int64_t depth);
  void draw_for(Sequence& sequence, std::span<const float> logits, int64_t depth,
                Sampler& sampler) const;
  void extend(int64_t depth);
  void forward_rows(TensorView hidden);

  const ModelWeights& weights_;
  const GeneratorOptions& options_;
  Activations& activations_;
  DraftBuffers buffers_;
  Stream& stream_;
  std::vector<Sampler> samplers_;  // one a worker
  BatchKv kv_;
  std::vector<Link> links_;  // sequences whose draft goes on
  HostArray<int32_t> ids_, positions_;
  HostArray<int32_t> rows_;                   // of a tensor, to be gathered
  std::vector<HostCopy<float>> host_logits_;  // by depth, [S, V]
  std::vector<BatchKv::Run> runs_;
};

}  // namespace dure
