// model/adapter.h: adapters beside a model's weights: the low-rank additions as the passes read
// them, as one trained block, and which rows go through which adapter.
//
// Order contract, of each row alone: u = A x, exact (arithmetic.h), one rounding each by the scale,
// v = B u exact from 0 over the rank ascending, y = y + v after W x in the base's own arithmetic
// and before any bias. It does not depend on other rows, nor on whether a batch has one adapter or
// several: what a trainer computes is what a sampler computes, to the bit. Base weights know
// nothing of adapters and are shared by all. Not here: files (formats/adapter_files.h), which
// matrices (formats/adapter_layout.h), requests (engine/).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/adapter_files.h"
#include "model/holding.h"
#include "model/tensors.h"
#include "tensor/buffer.h"

namespace dure {

// The addition to one product; f32, exact. Empty: none.
struct LowRank {
  WeightView down;  // [R, K], or [E, R, K]
  WeightView up;    // [R, N], or [E, R, N]: B transposed
  float scale = 1;
  explicit operator bool() const { return static_cast<bool>(down); }
};
// What a backward adds to; `down` of two that share it is one view.
struct LowRankGradient {
  TensorView down, up;
};
struct NoTensor {};

// By place, beside LayerWeights and ModelWeights: the fields that an adapter does not add to are
// empty.
using LayerAdapter = LayerOf<LowRank, NoTensor>;
using LayerAdapterGradients = LayerOf<LowRankGradient, NoTensor>;
using ModelAdapterGradients = ModelOf<LowRankGradient, NoTensor>;
struct ModelAdapter : ModelOf<LowRank, NoTensor> {
  int64_t rank_max = 0;
  // Of an adapter from files: its layout and values, never 0. Keys and values of one adapter are of
  // no use to another. 0: they may change (a trainer's).
  uint64_t fingerprint = 0;
  std::shared_ptr<const void> source;  // keeps the values alive, where they are its own
};

// Whether some routed expert is added to.
inline bool adds_to_experts(const LayerAdapter& layer) {
  return layer.expert_gate || layer.expert_up || layer.expert_down;
}
bool adds_to_experts(const ModelAdapter& adapter);

// Rows [first, first + count) of a batch go through `adapter`. A batch lists its stretches
// ascending, without overlap; rows in none have no adapter. Who batches several adapters orders the
// rows by adapter: then a stretch of any matrix's x is a view, and within an expert's rows (tokens
// ascending) those of a stretch are neighbours too.
struct AdapterRows {
  const ModelAdapter* adapter = nullptr;
  int64_t first = 0, count = 0;
};

// One factor of a target, or what is held of one: of routed experts' a run of them.
struct AdapterFactor {
  size_t target = 0;  // in the layout
  bool is_up = false;
  std::string name;    // "model.layers.3.self_attn.q_proj.lora_A"; of a shared `down` its first
                       // target's
  Shape shape, whole;  // of what is held, and of all
  int64_t first = 0;   // expert
  int64_t first_element() const { return first == 0 ? 0 : shape.elements() / shape[0] * first; }
  // Along the first dimension, that begin chunks of the gradient norm: experts.
  int64_t norm_pieces() const { return shape.rank() == 3 ? shape[0] : 1; }
};
// In the layout's order, `down` before `up`.
std::vector<AdapterFactor> held_factors(const ModelConfig& config, const AdapterLayout& layout,
                                        const Holding& holding = {});

struct AdapterParameter : AdapterFactor {
  TensorView view;     // f32
  int64_t offset = 0;  // of its first element in flat()
};

// All factors of an adapter that a holding has as one f32 block; the same layout serves gradients
// and moments. A part of the routed experts' lies behind all the rest, as in Parameters.
class AdapterParameters {
 public:
  // Allocates bytes(), zeroed. Throws kOutOfMemory.
  AdapterParameters(const ModelConfig& config, AdapterLayout layout, Device device = Device::kCpu)
      : AdapterParameters(config, std::move(layout), Holding{}, device) {}
  AdapterParameters(const ModelConfig& config, AdapterLayout layout, const Holding& holding,
                    Device device);
  static int64_t bytes(const ModelConfig& config, const AdapterLayout& layout,
                       const Holding& holding = {});

  const AdapterLayout& layout() const { return layout_; }  // of the whole adapter
  const Holding& holding() const { return holding_; }
  std::span<const AdapterParameter> list() const { return list_; }
  TensorView flat() const { return flat_; }

  // As PEFT begins: `down` uniform in +-1/sqrt(K) (Kaiming's with a = sqrt(5)), `up` 0: the model
  // is the base. Element i of a factor depends on the seed, its name and i alone.
  void initialise(uint64_t seed, Stream& stream);
  // What is held of it. Checked: the content's layout is this one.
  void load(const AdapterContent& content, Stream& stream);
  // Checked: everything is held.
  AdapterContent content(Stream& stream) const;
  void zero(Stream& stream);

  // Views, empty where nothing is held; this must outlive them.
  ModelAdapter bind() const;
  ModelAdapterGradients by_place() const;

 private:
  // Calls use(target, down, up) for every target that is held.
  template <typename Use>
  void for_targets(Use&& use) const;

  ModelConfig config_;
  AdapterLayout layout_;
  Holding holding_;
  std::vector<AdapterParameter> list_;
  Buffer buffer_;
  TensorView flat_;
};

// An adapter from files, to be given to ModelWeights::adapter or to a batch's rows; it owns its
// values. holding: the part of it that is kept. Throws as read_adapter() does.
std::shared_ptr<const ModelAdapter> open_adapter(const Path& path, const ModelConfig& base,
                                                 Stream& stream, const Holding& holding = {});

}  // namespace dure
