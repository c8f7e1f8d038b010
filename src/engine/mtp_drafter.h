// engine/mtp_drafter.h: the model's own MTP layer run as a draft head, chained to any length.
//
// After each forward of the model it first runs the MTP layer over the rows that were kept (hidden
// state of t, token t+1), with its own keys and values; the last row of a decoding sequence gives
// the first draft. Each further draft takes one more row: the layer's own result as the hidden
// state, the draft before as the token. Those rows are overwritten by the true ones once the model
// has spoken. Not here: how many are wanted (draft_policy.h).
//
// A draft is drawn from the layer's distribution as the model's token will be from the model's:
// after the request's mask, penalties and temperature, with the very number that will draw the
// token. So the closer the two distributions, the likelier the same token falls out of both.
#pragma once

#include <vector>

#include "engine/drafter.h"

namespace dure {

// Symbols: S sequences, D hidden width, V vocabulary.
struct DraftBuffers {
  TensorView hidden;  // [S, D] of the rows that go on
  TensorView logits;  // [S, V]
};
DraftBuffers lay_out_drafts(const ModelConfig& config, const GeneratorOptions& options,
                            Arena& arena);

class MtpDrafter final : public Drafter {
 public:
  // Everything given must outlive it. The weights have an MTP layer, the cache and the activations
  // room for it. What drafts take is told to `policy`.
  MtpDrafter(const ModelWeights& weights, const GeneratorOptions& options, KvCache& cache,
             Activations& activations, const DraftBuffers& buffers, DraftPolicy& policy,
             Stream& stream);

  // activations.hidden() is that of the forward; used up.
  void catch_up(std::span<const FedRun> fed) override;
  Offer offer(const Sequence& sequence, int64_t most) const override;
  // A draft that cannot be drawn (logits that are not finite, a mask that throws) is none.
  void draft(std::span<const DraftTask> tasks) override;

 private:
  struct Link {
    Sequence* sequence = nullptr;
    int64_t row = 0;    // of activations.mtp().y
    int64_t count = 0;  // drafts wanted
    int64_t drawn = 0;  // drafts there were before the next is drawn
  };
  // A row of the next forward: its token (the hidden state's next), and where the hidden state
  // lies.
  struct Row {
    int32_t token = 0;
    int64_t position = 0, from_row = 0;
  };
  void start_rows();
  void add_row(const Row& row);
  void draw();
  void draw_for(Sequence& sequence, std::span<const float> logits, Sampler& sampler) const;
  void extend();
  void forward_rows(TensorView hidden);

  const ModelWeights& weights_;
  Activations& activations_;
  DraftBuffers buffers_;
  DraftPolicy& policy_;
  Stream& stream_;
  std::vector<Sampler> samplers_;  // one a worker
  BatchKv kv_;
  std::vector<Link> links_;  // sequences whose draft goes on
  HostArray<int32_t> ids_, positions_;
  HostArray<int32_t> rows_;  // of a tensor, to be gathered
  HostCopy<float> host_logits_;
  std::vector<BatchKv::Run> runs_;
};

}  // namespace dure
